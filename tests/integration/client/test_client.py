"""The client on a real socket."""

import asyncio
import contextlib
import socket
from typing import TypeVar

import pytest
from websockets.exceptions import ConnectionClosed, InvalidURI

from livebalance.client.client import READ_AHEAD, Client
from livebalance.client.event import Changed, Connected, Disconnected, Event
from livebalance.wire.frame import (
    Auth,
    AuthExpiring,
    DeltaFrame,
    PositionJson,
    Refresh,
    ServerFrame,
    Subscribe,
    Unsubscribe,
    decode_server_frame,
)
from livebalance.wire.identity import Epoch, Position, Revision
from tests.checker import replay
from tests.integration.client.gateway import Gateway, running_gateway, send
from tests.unit.client.frames import ACCOUNT, CHANNEL, EPOCH, delta, snapshot

Kind = TypeVar("Kind", bound=Event)


async def until(client: Client, kind: type[Kind]) -> Kind:
    async with asyncio.timeout(30):
        async for event in client.events():
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the client ended without {kind.__name__}")


async def test_client_follows_an_account() -> None:
    async with running_gateway() as gateway, Client(gateway.url) as client:
        client.follow(ACCOUNT)
        assert (await until(client, Connected)).gateway == "gateway-1"
        connection = await gateway.next_connection()
        await send(connection, [snapshot(2), delta(2, 3)])
        await until(client, Changed)
        changed = await until(client, Changed)
        assert changed.account.position == Position(Epoch(EPOCH), Revision(3))
        assert client.account_state(ACCOUNT) == changed.account
        assert isinstance(await gateway.next_frame(), Subscribe)


async def test_follow_during_events_subscribes_at_once() -> None:
    async with running_gateway() as gateway, Client(gateway.url) as client:
        await until(client, Connected)
        waiting = asyncio.create_task(until(client, Changed))
        await asyncio.sleep(0)
        client.follow(ACCOUNT)
        client.follow(ACCOUNT)
        assert isinstance(await gateway.next_frame(), Subscribe)
        await send(await gateway.next_connection(), [snapshot(2)])
        await waiting
        waiting = asyncio.create_task(until(client, Changed))
        await asyncio.sleep(0)
        client.unfollow(ACCOUNT)
        assert await gateway.next_frame() == Unsubscribe(2, [CHANNEL])
        waiting.cancel()


async def test_client_resumes_at_the_second_gateway_when_the_first_is_lost() -> None:
    async with (
        running_gateway() as gateway,
        running_gateway() as other,
        Client(gateway.url, other.url) as client,
    ):
        client.follow(ACCOUNT)
        await until(client, Connected)
        connection = await gateway.next_connection()
        await send(connection, [snapshot(2)])
        await until(client, Changed)
        connection.transport.abort()
        assert (await until(client, Disconnected)).code == 1006
        assert (await until(client, Connected)).url == other.url
        request = await other.next_frame()
        assert isinstance(request, Subscribe)
        assert request.channels[0].position == PositionJson(EPOCH, 2)


async def test_client_tries_the_next_address_if_a_gateway_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        unreachable = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"
        async with running_gateway() as gateway, Client(unreachable, gateway.url) as client:
            assert (await until(client, Disconnected)).code == 1006
            assert (await until(client, Connected)).url == gateway.url


async def test_final_close_code_ends_the_events() -> None:
    async with running_gateway() as gateway, Client(gateway.url) as client:
        await until(client, Connected)
        await (await gateway.next_connection()).close(4503, '{"code":"revoked"}')
        async with asyncio.timeout(30):
            last = [event async for event in client.events()]
        assert last == [Disconnected(4503, '{"code":"revoked"}', None)]


async def test_silent_gateway_is_detected_without_a_network_error() -> None:
    async with running_gateway(heartbeat_ms=100) as gateway, Client(gateway.url) as client:
        await until(client, Connected)
        lost = await until(client, Disconnected)
        assert (lost.code, lost.reason) == (1006, "silent")


async def test_paused_loop_stops_reading_and_loses_nothing() -> None:
    """Frames wait in the client up to a limit, then in the network, then at the gateway."""
    count = 4000
    log: list[bytes] = []
    async with running_gateway() as gateway, Client(gateway.url, on_frame=log.append) as client:
        client.follow(ACCOUNT)
        await until(client, Connected)
        connection = await gateway.next_connection()
        sending = asyncio.create_task(send(connection, [snapshot(0), *_long(count)]))
        await asyncio.wait([sending], timeout=1)
        assert not sending.done(), "the sender must block while the loop pauses"
        assert len(log) <= READ_AHEAD
        while not (state := client.account_state(ACCOUNT)) or state.position.revision < count:
            await until(client, Changed)
        await sending
    frames = [frame for text in log if (frame := decode_server_frame(text))]
    assert [transfer.revision for transfer in replay(frames)[CHANNEL].transfers] == [*range(1, count + 1)]


def _long(count: int) -> list[DeltaFrame]:
    """Deltas of about 8 KiB each, more than the buffers of the network hold."""
    return [
        DeltaFrame(
            f.channel, f.epoch, f.from_, f.to, f.transfers, f.recorded_at + " " * 8000, balance=f.balance
        )
        for f in (delta(n, n + 1) for n in range(count))
    ]


async def test_stop_ends_the_events_and_closes_the_connection() -> None:
    async with running_gateway() as gateway:
        client = Client(gateway.url)
        await until(client, Connected)
        connection = await gateway.next_connection()
        waiting = asyncio.create_task(until(client, Changed))
        await asyncio.sleep(0)
        await client.stop()
        with pytest.raises(AssertionError, match="ended"):
            await waiting
        assert (await closed_with(connection)) == 1000


async def closed_with(connection: object) -> int | None:
    async with asyncio.timeout(30):
        await connection.wait_closed()  # type: ignore[attr-defined]
    return connection.close_code  # type: ignore[attr-defined,no-any-return]


async def test_events_may_be_left_and_entered_again() -> None:
    async with running_gateway() as gateway, Client(gateway.url) as client:
        client.follow(ACCOUNT)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    await until(client, Changed)
        answering = asyncio.create_task(_send_to_all(gateway, snapshot(2)))
        assert (await until(client, Changed)).account.position.revision == 2
        answering.cancel()


async def _send_to_all(gateway: Gateway, frame: ServerFrame) -> None:
    """Sends a frame on each connection that was opened. Most are closed by now."""
    while True:
        with contextlib.suppress(ConnectionClosed):
            await send(await gateway.next_connection(), [frame])


def test_invalid_address_is_rejected_at_once() -> None:
    with pytest.raises(InvalidURI):
        Client("http://127.0.0.1/ws")
    with pytest.raises(ValueError, match="address"):
        Client()


class Issuer:
    """Issues the tokens `t-1`, `t-2`, …; raises OSError while `unavailable`."""

    def __init__(self) -> None:
        self.issued, self.unavailable = 0, False

    async def token(self) -> str:
        if self.unavailable:
            raise OSError("unavailable")
        self.issued += 1
        return f"t-{self.issued}"


async def test_client_authenticates_and_refreshes_its_token() -> None:
    issuer = Issuer()
    async with running_gateway() as gateway, Client(gateway.url, token=issuer.token) as client:
        client.follow(ACCOUNT)
        await until(client, Connected)
        assert await gateway.next_frame() == Auth("t-1")
        assert isinstance(await gateway.next_frame(), Subscribe)
        await send(await gateway.next_connection(), [AuthExpiring("2026-11-24T17:20:00.000Z"), snapshot(2)])
        await until(client, Changed)
        assert await gateway.next_frame() == Refresh("refresh", "t-2")


async def test_client_reconnects_with_a_new_token_after_it_expired() -> None:
    issuer = Issuer()
    async with running_gateway() as gateway, Client(gateway.url, token=issuer.token) as client:
        client.follow(ACCOUNT)
        await until(client, Connected)
        await (await gateway.next_connection()).close(4001, '{"code":"token_expired","retry_after_ms":0}')
        disconnected = await until(client, Disconnected)
        assert disconnected.retry_in is not None
        issuer.unavailable = True
        await until(client, Disconnected)  # the next attempt gets no token
        issuer.unavailable = False
        await until(client, Connected)
        frames = [await gateway.next_frame() for _ in range(3)]
        assert [frame for frame in frames if isinstance(frame, Auth)] == [Auth("t-1"), Auth("t-2")]
