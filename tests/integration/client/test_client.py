"""The shell on a real socket."""

import asyncio
import socket
from typing import TypeVar

import pytest
from websockets.exceptions import InvalidURI

from livebalance.client.client import READ_AHEAD, Client
from livebalance.client.event import Changed, Connected, Disconnected, Event
from livebalance.wire.frame import (
    Auth,
    AuthExpiring,
    DeltaFrame,
    PositionJson,
    Refresh,
    Subscribe,
    Unsubscribe,
    decode_server_frame,
)
from livebalance.wire.identity import Epoch, Position, Revision
from tests.checker import replay
from tests.integration.client.gateway import gateway, say
from tests.unit.client.frames import ACCOUNT, CHANNEL, EPOCH, delta, snapshot

Kind = TypeVar("Kind", bound=Event)


async def until(client: Client, kind: type[Kind]) -> Kind:
    async with asyncio.timeout(10):
        async for event in client.events():
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the client ended without {kind.__name__}")


async def test_it_follows_an_account() -> None:
    async with gateway() as one, Client(one.url) as client:
        client.follow(ACCOUNT)
        assert (await until(client, Connected)).gateway == "gateway-1"
        connection = await one.connected()
        await say(connection, [snapshot(2), delta(2, 3)])
        await until(client, Changed)
        changed = await until(client, Changed)
        assert changed.account.position == Position(Epoch(EPOCH), Revision(3))
        assert client.shown(ACCOUNT) == changed.account
        assert isinstance(await one.next(), Subscribe)


async def test_what_is_followed_while_it_listens_is_asked_for_at_once() -> None:
    async with gateway() as one, Client(one.url) as client:
        await until(client, Connected)
        listening = asyncio.create_task(until(client, Changed))
        await asyncio.sleep(0)
        client.follow(ACCOUNT)
        client.follow(ACCOUNT)
        assert isinstance(await one.next(), Subscribe)
        await say(await one.connected(), [snapshot(2)])
        await listening
        listening = asyncio.create_task(until(client, Changed))
        await asyncio.sleep(0)
        client.unfollow(ACCOUNT)
        assert await one.next() == Unsubscribe(2, [CHANNEL])
        listening.cancel()


async def test_cut_off_it_goes_to_the_other_gateway_and_resumes() -> None:
    async with gateway() as one, gateway() as two, Client(one.url, two.url) as client:
        client.follow(ACCOUNT)
        await until(client, Connected)
        connection = await one.connected()
        await say(connection, [snapshot(2)])
        await until(client, Changed)
        connection.transport.abort()
        assert (await until(client, Disconnected)).code == 1006
        assert (await until(client, Connected)).url == two.url
        asked = await two.next()
        assert isinstance(asked, Subscribe)
        assert asked.channels[0].position == PositionJson(EPOCH, 2)


async def test_a_gateway_that_is_not_there_is_left_for_the_next() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        nobody = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"
        async with gateway() as one, Client(nobody, one.url) as client:
            assert (await until(client, Disconnected)).code == 1006
            assert (await until(client, Connected)).url == one.url


async def test_a_close_for_good_ends_the_events_with_the_reason() -> None:
    async with gateway() as one, Client(one.url) as client:
        await until(client, Connected)
        await (await one.connected()).close(4503, '{"code":"revoked"}')
        async with asyncio.timeout(5):
            last = [event async for event in client.events()]
        assert last == [Disconnected(4503, '{"code":"revoked"}', None)]


async def test_silence_is_found_without_a_word_from_the_network() -> None:
    async with gateway(heartbeat_ms=100) as one, Client(one.url) as client:
        await until(client, Connected)
        lost = await until(client, Disconnected)
        assert (lost.code, lost.reason) == (1006, "silent")


async def test_a_listener_that_pauses_stops_the_reading_and_loses_nothing() -> None:
    """Frames wait in a bounded place here, then in the network, then at the gateway; none is dropped."""
    count = 4000
    log: list[bytes] = []
    async with gateway() as one, Client(one.url, heard=log.append) as client:
        client.follow(ACCOUNT)
        await until(client, Connected)
        connection = await one.connected()
        sending = asyncio.create_task(say(connection, [snapshot(0), *_long(count)]))
        await asyncio.wait([sending], timeout=1)
        assert not sending.done(), "a paused listener must hold the sender back"
        assert len(log) <= READ_AHEAD
        while client.shown(ACCOUNT) is None or client.shown(ACCOUNT).position.revision < count:  # type: ignore[union-attr]
            await until(client, Changed)
        await sending
    frames = [frame for text in log if (frame := decode_server_frame(text))]
    assert [t.revision for t in replay(frames)[CHANNEL].transfers] == [*range(1, count + 1)]


def _long(count: int) -> list[DeltaFrame]:
    """Deltas of about 8 KiB, so that no buffer of the network holds them all."""
    return [
        DeltaFrame(
            f.channel, f.epoch, f.from_, f.to, f.transfers, f.recorded_at + " " * 8000, balance=f.balance
        )
        for f in (delta(n, n + 1) for n in range(count))
    ]


async def test_stop_ends_whoever_listens_and_says_goodbye() -> None:
    async with gateway() as one:
        client = Client(one.url)
        await until(client, Connected)
        connection = await one.connected()
        listening = asyncio.create_task(until(client, Changed))
        await asyncio.sleep(0)
        await client.stop()
        with pytest.raises(AssertionError, match="ended"):
            await listening
        assert (await one_closed(connection)) == 1000


async def one_closed(connection: object) -> int | None:
    async with asyncio.timeout(5):
        await connection.wait_closed()  # type: ignore[attr-defined]
    return connection.close_code  # type: ignore[attr-defined,no-any-return]


async def test_listening_may_be_left_and_begun_again_at_any_time() -> None:
    async with gateway() as one, Client(one.url) as client:
        client.follow(ACCOUNT)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    await until(client, Changed)
        listening = asyncio.create_task(until(client, Changed))
        await one.next()  # each try that was left may have made a connection; this one asks
        while not one.connections.empty():
            connection = one.connections.get_nowait()
        await say(connection, [snapshot(2)])
        assert (await listening).account.position.revision == 2


def test_an_address_that_cannot_be_one_is_refused_at_once() -> None:
    with pytest.raises(InvalidURI):
        Client("http://127.0.0.1/ws")
    with pytest.raises(ValueError, match="address"):
        Client()


class Issuer:
    """Gives `t-1`, `t-2`, …; nothing while `away`."""

    def __init__(self) -> None:
        self.given, self.away = 0, False

    async def token(self) -> str:
        if self.away:
            raise OSError("away")
        self.given += 1
        return f"t-{self.given}"


async def test_it_says_who_it_is_and_renews_that_in_time() -> None:
    issuer = Issuer()
    async with gateway() as one, Client(one.url, token=issuer.token) as client:
        client.follow(ACCOUNT)
        await until(client, Connected)
        assert await one.next() == Auth("t-1")
        assert isinstance(await one.next(), Subscribe)
        await say(await one.connected(), [AuthExpiring("2026-11-24T17:20:00.000Z"), snapshot(2)])
        await until(client, Changed)
        assert await one.next() == Refresh("refresh", "t-2")


async def test_past_its_time_it_comes_back_with_another() -> None:
    issuer = Issuer()
    async with gateway() as one, Client(one.url, token=issuer.token) as client:
        client.follow(ACCOUNT)
        await until(client, Connected)
        await (await one.connected()).close(4001, '{"code":"token_expired","retry_after_ms":0}')
        gone = await until(client, Disconnected)
        assert gone.retry_in is not None
        issuer.away = True
        await until(client, Disconnected)  # the next try finds no token
        issuer.away = False
        await until(client, Connected)
        heard = [await one.next() for _ in range(3)]
        assert [one for one in heard if isinstance(one, Auth)] == [Auth("t-1"), Auth("t-2")]
