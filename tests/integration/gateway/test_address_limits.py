"""Limits per address: every HTTP connection counts, and a proxy never stands for its clients."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.integration.gateway.bad_input.raw import (
    ACCOUNTS_HEAD,
    CRLF,
    HANDSHAKE_HEAD,
    RawConnection,
    RawResponse,
    send_request,
)
from tests.integration.gateway.conftest import LimiterClock, RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.tokens import token

CLIENT = "127.0.0.9"  # not a trusted proxy
KEPT_HEAD = ACCOUNTS_HEAD.replace(b"Connection: close\r\n", b"")
WAITING = b"GET /api/v1/accounts/alice?min_revision=3 HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer %b\r\n"
STREAM = b"GET /api/v1/events?account=alice HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer %b\r\n"


@contextlib.asynccontextmanager
async def connected(
    gateway: RunningGateway, data: bytes = b"", source: str = CLIENT
) -> AsyncIterator[RawConnection]:
    """A connection from `source`, a loopback address, that has sent `data`."""
    streams = await asyncio.open_connection("127.0.0.1", gateway.settings.http_port, local_addr=(source, 0))
    async with RawConnection(*streams) as connection:
        connection.send(data)
        yield connection


async def status_line(connection: RawConnection) -> bytes:
    async with asyncio.timeout(30):
        head = await connection.reader.readuntil(b"\r\n\r\n")
    return head.partition(b"\r\n")[0]


async def respond(gateway: RunningGateway, forwarded: bytes, head: bytes = HANDSHAKE_HEAD) -> RawResponse:
    return await send_request(gateway.http, head + b"X-Forwarded-For: " + forwarded + b"\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [b"", KEPT_HEAD + CRLF, STREAM % token().encode() + CRLF, HANDSHAKE_HEAD + CRLF],
    ids=["silent", "kept alive", "stream", "socket"],
)
async def test_connection_of_any_kind_counts_once_until_it_is_closed(
    start_gateway: StartGateway, data: bytes
) -> None:
    gateway = await start_gateway(max_connections_per_address=2)
    for _ in range(2):
        async with connected(gateway, data) as first, connected(gateway, data) as second:
            if data:
                assert await status_line(first) in (b"HTTP/1.1 200 OK", b"HTTP/1.1 101 Switching Protocols")
                assert await status_line(second) in (b"HTTP/1.1 200 OK", b"HTTP/1.1 101 Switching Protocols")
            async with connected(gateway, KEPT_HEAD + CRLF) as third:
                response = await third.response()
            assert (response.status, response.code) == (429, "address_full")
            assert response.headers["retry-after"] == "10"
            async with connected(gateway, KEPT_HEAD + CRLF, source="127.0.0.10") as other:
                assert await status_line(other) == b"HTTP/1.1 200 OK"
        await until_accepted(gateway)


async def until_accepted(gateway: RunningGateway) -> None:
    """Waits until a new connection of the client is accepted."""
    async with asyncio.timeout(30):
        while True:
            async with connected(gateway, KEPT_HEAD + CRLF) as connection:
                if await status_line(connection) == b"HTTP/1.1 200 OK":
                    return


async def test_new_connections_of_an_address_are_paced(
    start_gateway: StartGateway, limiter_clock: LimiterClock
) -> None:
    gateway = await start_gateway(connection_rate_per_address=1)
    async with AsyncExitStack() as stack:
        third = [await stack.enter_async_context(connected(gateway)) for _ in range(3)][-1]
        assert (await third.response()).code == "address_too_fast"


async def test_requests_through_a_proxy_count_for_their_clients_while_they_are_served(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livebalance.gateway.api.queries.WAIT_SECONDS", 30.0)
    gateway = await start_gateway(max_connections_per_address=2)
    await projector.open("alice")
    waiting = WAITING % token().encode()
    async with (
        await RawConnection.connect(gateway.http) as first,
        await RawConnection.connect(gateway.http) as second,
    ):
        for connection in (first, second):
            connection.send(waiting + b"X-Forwarded-For: 192.0.2.1\r\n\r\n")
        await gateway_serves(gateway, 2)
        response = await respond(gateway, b"192.0.2.1", ACCOUNTS_HEAD)
        assert (response.status, response.code) == (429, "address_full")
        assert (await respond(gateway, b"192.0.2.2", ACCOUNTS_HEAD)).status == 200
        await projector.transfer("alice", 5)
        assert await status_line(first) == await status_line(second) == b"HTTP/1.1 200 OK"
    assert (await respond(gateway, b"192.0.2.1", ACCOUNTS_HEAD)).status == 200


async def gateway_serves(gateway: RunningGateway, count: int) -> None:
    """Waits until a third request of the address is rejected."""
    async with asyncio.timeout(30):
        while (await respond(gateway, b"192.0.2.1", ACCOUNTS_HEAD)).status == 200:
            pass


@pytest.mark.parametrize(
    ("connected_as", "same", "other"),
    [
        (b"2001:db8::1", b"[2001:db8::ffff]:4711", b"2001:db8:0:1::1"),
        (b"203.0.113.1, 10.0.0.7", b"198.51.100.9, 203.0.113.1:5000, 10.0.0.8", b"203.0.113.2, 10.0.0.7"),
    ],
    ids=["IPv6 network", "two proxies"],
)
async def test_client_behind_proxies_is_counted_by_its_own_address(
    start_gateway: StartGateway, connected_as: bytes, same: bytes, other: bytes
) -> None:
    gateway = await start_gateway(max_connections_per_address=1, trusted_proxies=("127.0.0.1", "10.0.0.0/8"))
    head = HANDSHAKE_HEAD + b"X-Forwarded-For: "
    async with await RawConnection.open(gateway.http, head + connected_as + b"\r\n\r\n"):
        assert (await respond(gateway, same)).code == "address_full"
        async with await RawConnection.open(gateway.http, head + other + b"\r\n\r\n"):
            pass


@pytest.mark.parametrize("header", [b"", b"X-Forwarded-For: unknown\r\n"], ids=["missing", "malformed"])
async def test_proxy_that_does_not_name_its_clients_is_not_limited_like_a_client(
    start_gateway: StartGateway, limiter_clock: LimiterClock, header: bytes
) -> None:
    gateway = await start_gateway(
        max_connections_per_address=1, connection_rate_per_address=1, max_connections=4
    )
    before = await gateway.counter("unnamed_clients")
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(
                await RawConnection.open(gateway.http, HANDSHAKE_HEAD + header + CRLF)
            )
        assert await gateway.counter("unnamed_clients") == before + 4
        assert (await send_request(gateway.http, HANDSHAKE_HEAD + header + CRLF)).code == "full"
