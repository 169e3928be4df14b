"""Strangers behind the shipped Caddyfile: many connections, invented addresses, tokens with invented keys."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from urllib.parse import urlsplit

import jwt
import pytest
import pytest_asyncio

from tests.acceptance.attacks.attacked_stack import TIMEOUT, AttackedStack, caddy
from tests.integration.gateway.bad_input.raw import ACCOUNTS_HEAD, CRLF, HANDSHAKE_HEAD, RawConnection
from tests.integration.gateway.test_auth import Issuer
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.tokens import AUDIENCE, ISSUER, SECRET, claims, token
from tests.unit.gateway.keys import EC_KEY, public_jwk

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACES = 2
NEIGHBOUR, PROXY = "127.0.2.9", "127.0.0.1"
STREAM_HEAD = b"GET /api/v1/events?account=alice HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer %b\r\n"
INVENTED_KEYS = 20
READ_BURST, READ_INTERVAL = 3, 10  # reads of the key set: at once, and seconds between two on average


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    """Publishes the key `own`."""
    issuer = Issuer()
    issuer.keys = [public_jwk(EC_KEY, "own")]
    yield issuer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settings(issuer: Issuer) -> AsyncIterator[dict[str, str]]:
    """Few places for each address, and keys at a URL beside the secret that the tests sign with."""
    secret = jwt.utils.base64url_encode(SECRET.encode()).decode()
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    yield {
        "max_connections_per_address": str(PLACES),
        "connection_rate_per_address": "1000",
        "request_rate_per_user": "1000",
        "max_connections_per_user": "1000",
        "jwks": json.dumps({"keys": [{"kty": "oct", "kid": "demo", "k": secret}]}),
        "jwks_url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys",
        "token_issuer": ISSUER,
        "token_audience": AUDIENCE,
    }
    server.close()


@asynccontextmanager
async def connected(url: str, head: bytes, source: str) -> AsyncIterator[tuple[RawConnection, bytes]]:
    """A connection from `source` that has sent a request, and the status line of the answer."""
    port = int(url.rpartition(":")[2])
    streams = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    async with RawConnection(*streams) as connection:
        connection.send(head + CRLF)
        async with asyncio.timeout(TIMEOUT):
            line = await connection.reader.readuntil(CRLF)
        yield connection, line.strip()


def forwarded(head: bytes, addresses: str) -> bytes:
    return head + f"X-Forwarded-For: {addresses}\r\n".encode()


async def code(url: str, head: bytes, source: str) -> str:
    """Returns the code of a problem, or "" if the request succeeds."""
    async with connected(url, head, source) as (connection, line):
        if b" 200 " in line or b" 101 " in line:
            return ""
        async with asyncio.timeout(TIMEOUT):  # Caddy keeps the connection open
            head = (await connection.reader.readuntil(CRLF * 2)).lower()
            size = int(head.partition(b"\r\ncontent-length: ")[2].partition(CRLF)[0])
            problem: dict[str, str] = json.loads(await connection.reader.readexactly(size))
        return problem["code"]


@pytest.mark.parametrize(
    ("client", "forges"), [("127.0.2.1", False), ("127.0.2.2", True)], ids=["plain", "forged addresses"]
)
async def test_sockets_and_requests_of_an_address_have_the_same_places_whatever_the_client_says(
    stack: AttackedStack, client: str, forges: bool
) -> None:
    """Caddy does not believe the header of a client, and the gateway believes only Caddy."""
    stream = STREAM_HEAD % token().encode()
    heads = [HANDSHAKE_HEAD, stream, ACCOUNTS_HEAD, HANDSHAKE_HEAD]
    if forges:
        heads = [forwarded(head, f"198.51.100.{number}, 127.0.0.1") for number, head in enumerate(heads)]
    await stack.projector.open("alice")
    async with AsyncExitStack() as connections:
        for head in heads[:PLACES]:
            _, line = await connections.enter_async_context(connected(stack.http, head, client))
            assert line in (b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 200 OK")
        assert [await code(stack.http, head, client) for head in heads[PLACES:]] == ["address_full"] * 2
        assert await code(stack.http, ACCOUNTS_HEAD, NEIGHBOUR) == ""


@pytest.mark.parametrize(
    ("connected_as", "same", "other"),
    [
        ("2001:db8::1", ["[2001:db8::ffff]:4711", "2001:db8:0:0:1::"], "2001:db8:0:1::1"),
        ("203.0.113.1", ["198.51.100.9, 203.0.113.1:5000", "2001:db8::9, 203.0.113.1"], "203.0.113.2"),
    ],
    ids=["IPv6 network", "invented addresses before it"],
)
async def test_client_of_a_proxy_before_caddy_is_counted_by_the_address_that_the_proxy_saw(
    stack: AttackedStack, connected_as: str, same: list[str], other: str
) -> None:
    trusting = {"LIVEBALANCE_PAGE_TRUSTED_PROXIES": f"{PROXY}/32"}
    async with (
        caddy(stack.paths, [stack.gateway.http], stack.gateway.operations, trusting) as url,
        AsyncExitStack() as connections,
    ):
        for _ in range(PLACES):
            head = forwarded(HANDSHAKE_HEAD, connected_as)
            _, line = await connections.enter_async_context(connected(url, head, PROXY))
            assert line == b"HTTP/1.1 101 Switching Protocols"
        codes = [await code(url, forwarded(ACCOUNTS_HEAD, address), PROXY) for address in same]
        assert codes == ["address_full"] * len(same)
        assert await code(url, forwarded(ACCOUNTS_HEAD, other), PROXY) == ""


async def test_stranger_with_invented_keys_gets_4013_and_uses_up_only_a_budget_of_reads(
    stack: AttackedStack, issuer: Issuer
) -> None:
    """A token with an unknown key is rejected for good only once the keys were read after it came."""
    addresses = (f"127.0.3.{number % 250 + 1}" for number in count())  # none waits for a place

    async def outcome(key_id: str) -> int:
        signed = jwt.encode(claims(), EC_KEY, "ES256", {"kid": key_id})
        async with WebSocketClient(stack.ws, token=signed, local_addr=(next(addresses), 0)) as client:
            await client.until(lambda: client.of_type("welcome") or client.closed)
            return client.closed[0] if client.closed else 0

    start, reads = time.monotonic(), issuer.reads
    outcomes = [
        (await outcome(f"invented-{number}"), await outcome("own")) for number in range(INVENTED_KEYS)
    ]
    assert outcomes == [(4013, 0)] * INVENTED_KEYS
    assert issuer.reads - reads <= READ_BURST + (time.monotonic() - start) / READ_INTERVAL + 1
    async with asyncio.timeout(TIMEOUT):
        while (  # noqa: ASYNC110 - another process
            latest := await outcome("invented-0")
        ) == 4013:
            await asyncio.sleep(0.05)
    assert latest == 4501


async def test_strangers_that_reset_during_their_handshakes_leave_no_traceback(stack: AttackedStack) -> None:
    """They connect to the gateway itself: a proxy would take the resets."""
    port = urlsplit(stack.gateway.http).port
    for number in range(60):
        source = f"127.0.3.{number + 1}"
        with socket.create_connection(("127.0.0.1", port), TIMEOUT, (source, 0)) as client:
            client.sendall((HANDSHAKE_HEAD + CRLF)[: None if number % 3 else -2])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert await code(stack.gateway.http, HANDSHAKE_HEAD, NEIGHBOUR) == ""  # after the resets
    log = stack.paths.log("gateway").read_text()
    assert "handshake" in log or "connection" in log, "the log is that of the gateway"
    assert "Traceback" not in log
