"""A gateway divides bytes into the same requests as the proxy in front of it, also malformed bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from livebalance.stack.paths import free_port
from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, RawConnection, send_request
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers import proxies
from tests.servers.proxies import Proxy
from tests.tokens import bearer

LINE = b"GET /api/v1/accounts HTTP/1.1\r\n"
HEAD = LINE + b"Host: here\r\n"
POST = HEAD.replace(b"GET", b"POST")
FORGED = HANDSHAKE_HEAD + b"X-Forwarded-For: 198.51.100.66\r\n" + CRLF
SIZED = b"Content-Length: %d\r\n\r\n" % len(FORGED)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(FORGED), FORGED)
HIDDEN = b"0\r\n\r\n" + FORGED  # a body for a parser that counts, the end of the chunks for another
FILES = 1024  # open files of the gateway, as many as systemd allows by default
DRIPPING = 1200
# Seconds to wait: for the first answer, for each other answer, and for the rest of the last.
FIRST, PATIENCE, QUIET = 2.0, 0.5, 0.05


class Attack(NamedTuple):
    """Bytes of a client, sent in `parts`. Each part waits for an answer to the part before."""

    parts: tuple[bytes, ...]
    messages: int = 1  # requests in it, as RFC 9112 divides them


def both(head: bytes, *headers: bytes) -> bytes:
    """Returns a request with a length that covers `HIDDEN`, and other headers."""
    return head + b"Content-Length: %d\r\n" % len(HIDDEN) + b"".join(headers) + CRLF + HIDDEN


def chunked(name_and_value: bytes, head: bytes = POST) -> bytes:
    return head + name_and_value + b"\r\n\r\n" + CHUNKED


ATTACKS = {
    "body after the answer": Attack((POST + SIZED, FORGED)),
    "body with the head": Attack((POST + SIZED + FORGED,)),
    "body of a GET": Attack((HEAD + SIZED, FORGED)),
    "body of a HEAD": Attack((HEAD.replace(b"GET", b"HEAD") + SIZED, FORGED)),
    "body of a DELETE": Attack((HEAD.replace(b"GET", b"DELETE") + SIZED, FORGED)),
    "body of a handshake": Attack((HANDSHAKE_HEAD + SIZED, FORGED)),
    "chunks after the answer": Attack((POST + b"Transfer-Encoding: chunked\r\n\r\n", CHUNKED)),
    "chunks of a GET": Attack((chunked(b"Transfer-Encoding: chunked", HEAD),)),
    "chunks of a handshake": Attack((chunked(b"Transfer-Encoding: chunked", HANDSHAKE_HEAD),)),
    "chunks with extensions": Attack(
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"2;a=\nx\r\nab\r\n0\r\n\r\n" + FORGED), 2
    ),
    "chunks with a bad size": Attack(
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"0x2\r\nab\r\n" + HIDDEN)
    ),
    "chunks with trailers": Attack(
        (
            POST + b"Transfer-Encoding: chunked\r\n\r\n",
            b"0\r\nContent-Length: 9\r\nHost: other\r\n\r\n" + FORGED,
        ),
        2,
    ),
    "length and chunks": Attack((both(POST, b"Transfer-Encoding: chunked\r\n"),)),
    "chunks and length": Attack((both(POST + b"Transfer-Encoding: chunked\r\n"),)),
    "two lengths": Attack((both(HEAD, b"Content-Length: 0\r\n"),)),
    "the same length twice": Attack((both(HEAD, b"Content-Length: %d\r\n" % len(HIDDEN)),)),
    "list of lengths": Attack((HEAD + b"Content-Length: 0, %d\r\n\r\n" % len(FORGED) + FORGED,)),
    "length with a plus": Attack((HEAD + b"Content-Length: +%d\r\n\r\n" % len(FORGED) + FORGED,)),
    "length below 0": Attack((HEAD + b"Content-Length: -1\r\n\r\n" + FORGED,)),
    "length over 64 bits": Attack((HEAD + b"Content-Length: 18446744073709551616\r\n\r\n" + FORGED,)),
    "length named by Connection": Attack((POST + b"Connection: close, content-length\r\n" + SIZED + FORGED,)),
    "unknown coding": Attack((chunked(b"Transfer-Encoding: xchunked"),)),
    "coding after chunked": Attack((chunked(b"Transfer-Encoding: chunked, identity"),)),
    "coding behind a vertical tab": Attack((both(POST, b"Transfer-Encoding: \x0bchunked\r\n"),)),
    "coding twice": Attack((chunked(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow"),)),
    "space before the colon": Attack((both(POST, b"Transfer-Encoding : chunked\r\n"),)),
    "folded header": Attack((both(POST, b"X: a\r\n Transfer-Encoding: chunked\r\n"),)),
    "folded coding": Attack((both(POST, b"Transfer-Encoding:\r\n chunked\r\n"),)),
    "bare LF": Attack((both(POST, b"X: a\nTransfer-Encoding: chunked\r\n"),)),
    "bare CR": Attack((both(POST, b"X: a\rTransfer-Encoding: chunked\r\n"),)),
    "NUL": Attack((both(POST, b"X: a\0\r\n"),)),
    "HTTP/1.0 with chunks": Attack((chunked(b"Transfer-Encoding: chunked", POST.replace(b"1.1", b"1.0")),)),
    "HTTP/0.9": Attack((b"GET /api/v1/accounts\r\n\r\n" + FORGED,)),
    "HTTP/2 preface": Attack((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + FORGED,)),
    "two hosts": Attack((HEAD + b"Host: other\r\n\r\n",)),
    "expectation": Attack((POST + b"Expect: 100-continue\r\n" + SIZED, FORGED)),
    "failed upgrade": Attack((HANDSHAKE_HEAD.replace(b": 13", b": 12") + CRLF, HEAD + CRLF)),
    "another upgrade": Attack((HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + HEAD + CRLF,), 2),
    "pipeline": Attack(((HEAD + CRLF) * 3,), 3),
    "pipeline with a handshake": Attack((HEAD + CRLF + FORGED,), 2),
    "pipeline after a close": Attack((HEAD + b"Connection: close\r\n\r\n" + FORGED,)),
    "empty lines first": Attack((CRLF * 3 + HEAD + CRLF,)),
}


async def perform(url: str, attack: Attack) -> None:
    """Sends an attack, and reads what comes back until nothing comes any more."""
    async with await RawConnection.connect(url) as connection:
        for part in attack.parts:
            connection.send(part)
            # A proxy may log a request, but not forward it, if the client closes the connection too soon.
            await read_for(connection, FIRST if part is attack.parts[0] else PATIENCE)
        while await read_for(connection, PATIENCE if attack.messages > 1 else QUIET):
            pass


async def read_for(connection: RawConnection, seconds: float) -> bytes:
    """Returns the next bytes; b"" if none came in time, or if the connection is closed."""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(seconds):
            return await connection.reader.read(65536)
    return b""


class Counter:
    """Counts the requests that a gateway has seen: those that it answered, rejected or upgraded.

    Answers with 200 do not count: probes of a balancer and the requests of this test get them.
    """

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway

    async def seen(self) -> int:
        text = (await send_request(self._gateway.operations, _METRICS)).body.decode()
        lines = [
            line for line in text.splitlines() if line.startswith(_SERIES) and 'status="200"' not in line
        ]
        return int(sum(float(line.rpartition(" ")[2]) for line in lines))

    async def until(self, is_expected: Callable[[int], bool], seconds: float = 20.0) -> int:
        """Waits until the gateway has seen as many requests as expected, at most for these seconds."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            seen = await self.seen()
            if is_expected(seen) or asyncio.get_running_loop().time() > deadline:
                return seen
            await asyncio.sleep(0.02)


_METRICS = b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
_SERIES = tuple(
    f"livebalance_gateway_{name}_total{{"
    for name in ("http_responses", "rejected_requests", "closed_connections")
)


@pytest.fixture
async def gateway(
    projector: FakeProjector, gateway_environment: dict[str, str], tmp_path: Path
) -> AsyncIterator[GatewayProcess]:
    # All requests are of one user.
    environment = gateway_environment | {"LIVEBALANCE_REQUEST_RATE_PER_USER": "1000"}
    process = GatewayProcess("attacked", free_port(), tmp_path / "gateway.log", environment)
    process.child.prefix = ["prlimit", f"--nofile={FILES}"]
    try:
        await process.start()
        yield process
    finally:
        process.end()


async def test_gateway_sees_no_more_requests_than_a_client_sends(gateway: GatewayProcess) -> None:
    counter, surplus = Counter(gateway), {}
    for name, attack in ATTACKS.items():
        seen = await seen_of(gateway, counter, attack)
        if not 1 <= seen <= attack.messages:
            surplus[name] = f"{seen} of {attack.messages}"
    assert not surplus


async def seen_of(gateway: GatewayProcess, counter: Counter, attack: Attack) -> int:
    """Performs an attack, and returns how many requests the gateway has seen. It may reject all but one."""
    before = await counter.seen()
    await perform(gateway.http, attack)
    await counter.until(lambda seen: seen > before)
    return await counter.until(lambda seen: seen >= before + attack.messages, 1.0) - before


@pytest.mark.parametrize("start", [proxies.caddy, proxies.nginx, proxies.haproxy])
async def test_gateway_sees_the_requests_that_a_proxy_forwards(
    gateway: GatewayProcess, start: Callable[[Path, int], Proxy], tmp_path: Path
) -> None:
    """After each attack, an honest client gets its own answer from the connections of the same proxy."""
    (tmp_path / "proxy").mkdir()
    proxy, counter, different = start(tmp_path / "proxy", gateway.port), Counter(gateway), {}
    proxy.child.start()
    try:
        async with httpx.AsyncClient(base_url=proxy.http, headers=bearer(), timeout=30) as honest:
            await until_ready(honest)

            for number, (name, attack) in enumerate(ATTACKS.items()):
                if difference := await difference_after(proxy, counter, attack, honest, f"honest-{number}"):
                    different[name] = difference
    finally:
        proxy.child.stop()
    assert not different


async def difference_after(
    proxy: Proxy, counter: Counter, attack: Attack, honest: httpx.AsyncClient, account: str
) -> str | None:
    """Performs an attack, and returns what the gateway saw otherwise than the proxy; None: nothing."""
    before, forwarded = await counter.seen(), proxy.forwarded()
    await perform(proxy.http, attack)
    for _ in range(2):
        answer = await honest.get(f"/api/v1/accounts/{account}")
        if (answer.status_code, answer.text.count(account)) != (200, 1):
            return f"an honest client got {answer.status_code} {answer.text}"

    def expected() -> int:
        return before + proxy.forwarded() - forwarded - 2

    seen = await counter.until(lambda seen: seen == expected())
    return None if seen == expected() else f"{seen - before} for {expected() - before}"


async def until_ready(client: httpx.AsyncClient) -> None:
    """Waits until the proxy forwards requests."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/api/v1/accounts")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def drip(port: int, address: str) -> None:
    """Sends a body byte by byte from `address`, again and again."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            try:
                writer.write(POST + b"Content-Length: 60000\r\n\r\n")
                while not writer.is_closing():
                    await asyncio.sleep(0.5)
                    writer.write(b"x")
            finally:
                writer.transport.abort()
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("through", [None, proxies.caddy], ids=["straight", "caddy"])
async def test_honest_client_gets_in_while_a_thousand_connections_drip(
    gateway: GatewayProcess, through: Callable[[Path, int], Proxy] | None, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        http = gateway.http
        if through:
            (tmp_path / "proxy").mkdir()
            proxy = through(tmp_path / "proxy", gateway.port)
            stack.callback(proxy.child.stop)
            proxy.child.start()
            http = proxy.http
            async with httpx.AsyncClient(base_url=http, headers=bearer(), timeout=30) as client:
                await until_ready(client)
        await assert_admitted_during_attack(http)


async def assert_admitted_during_attack(http: str) -> None:
    """Checks that a client at an address of its own gets a REST response and a WebSocket."""
    port = int(http.rpartition(":")[2])
    async with asyncio.TaskGroup() as group:
        dripping = [group.create_task(drip(port, f"127.0.1.{number % 5}")) for number in range(DRIPPING)]
        await asyncio.sleep(2)  # the attack lasts, before and after the honest client comes
        transport = httpx.AsyncHTTPTransport(local_address="127.0.2.1")
        async with asyncio.timeout(30), httpx.AsyncClient(transport=transport, timeout=30) as client:
            answer = await client.get(f"{http}/api/v1/accounts", headers=bearer())
            assert answer.status_code == 200
            socket_url = http.replace("http:", "ws:") + "/ws"
            async with WebSocketClient(socket_url, local_addr=("127.0.2.1", 0)) as socket:
                await socket.until(lambda: socket.of_type("welcome"))
        for task in dripping:
            task.cancel()
