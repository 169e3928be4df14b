"""Clients that are slow, dead, cut off without a word, or ask for everything at once: nobody else notices."""

import asyncio
import ctypes
import os
import socket
import struct
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import Any

import asyncpg
import pytest

from livebalance.client.event import Connected, Disconnected
from livebalance.gateway.server.tcp import TransportTimeouts
from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.readmodel.revocations import revoke
from livebalance.wire.identity import AccountId
from tests.integration.gateway.checked_client import CheckedClient
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector, transferring
from tests.integration.gateway.faulty_proxy import faulty_proxy
from tests.integration.gateway.narrow_socket import narrow_socket
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import Frame, ShownAccount, WebSocketClient
from tests.servers.database import Database
from tests.tokens import token

SO_ATTACH_FILTER = 26  # of Linux


def drop_packets(client: WebSocketClient) -> None:
    """All that come for it are lost from now on: nothing of them is acknowledged."""
    verdict = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # a filter that takes 0 bytes
    program = struct.pack("@HP", 1, ctypes.addressof(verdict))
    one: socket.socket = client.transport.get_extra_info("socket")
    try:
        one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    except PermissionError:
        words = "left out: this system lets only root drop packets"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(words)


async def test_f30_connections_that_are_open_on_one_side(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    """Nothing passes any more, in either direction, and nothing closes: each side finds out by itself."""
    gateway = await start_gateway(heartbeat_interval_seconds=0.3, ping_interval_seconds=1.0)
    await projector.open("alice")
    async with (
        faulty_proxy(gateway.ws) as (wire, through_it),
        WebSocketClient(gateway.ws) as neighbour,
        WebSocketClient(through_it) as swallowed,  # what is sent to it is acknowledged by a system on the way
        WebSocketClient(gateway.ws) as dropped,
        CheckedClient([through_it, gateway.ws], ["alice"]) as checked,
    ):
        for client in (neighbour, swallowed, dropped):
            await client.subscribe("alice")
            await client.until_at("alice", 1)
        await checked.until_current(projector)
        before = await gateway.counter("closed_connections", code="1006", reason="silent")
        wire.drop_all()
        drop_packets(dropped)
        await projector.transfer("alice", 5)
        assert_shows(await neighbour.until_at("alice", 3), projector.account("alice"))
        await checked.until(lambda: checked.of(Disconnected))
        assert checked.of(Disconnected)[0][:2] == (1006, "silent")
        await checked.until_current(projector)
        checked.assert_exact(projector)
        assert checked.of(Connected)[-1].url == gateway.ws
        await gateway.until_sessions(2)
        assert await gateway.counter("closed_connections", code="1006", reason="silent") >= before + 2
        assert (swallowed.revision("alice"), dropped.revision("alice")) == (1, 1)
        await projector.transfer("alice", 5)
        assert_shows(await neighbour.until_at("alice", 5), projector.account("alice"))
        assert len(neighbour.of_type("delta")) == 2


# --- slow, then dead


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[WebSocketConnection]:
    """Of gateways that start from now on, in the order they were opened."""
    found: list[WebSocketConnection] = []

    class Kept(WebSocketConnection):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            found.append(self)

    monkeypatch.setattr("livebalance.gateway.app.WebSocketConnection", Kept)
    return found


def waiting(one: WebSocketConnection) -> int:
    """Bytes that wait for its client here."""
    outbox = one._session.outbox.size if one._session else 0
    return outbox + one.transport.get_write_buffer_size()


async def read_on(client: WebSocketClient) -> None:
    """One more frame, or a few."""
    seen = len(client.frames)
    client.reading.set()
    await client.until(lambda: len(client.frames) > seen)


async def counters(gateway: RunningGateway) -> dict[str, float]:
    return {
        "conflated": await gateway.counter("conflated_frames", reason="slow"),
        "forgotten": await gateway.counter("client_queue_overflows"),
        "aborted": await gateway.counter("closed_connections", code="1006", reason="no_progress"),
    }


async def test_f29_a_reader_that_is_slow_and_then_dead(
    start_gateway: StartGateway, projector: FakeProjector, sockets: list[WebSocketConnection]
) -> None:
    """It gets every transfer, in fewer frames; what waits for it is bounded; its neighbour gets all."""
    gateway = await start_gateway(
        send_buffer_bytes=8192, recovery_page_rows=50, ping_interval_seconds=1.0, write_timeout_seconds=2.0
    )
    bound = (
        2 * gateway.settings.client_queue_bytes + TransportTimeouts().high_water
    )  # one that waits, one that was written
    await projector.open("busy")
    page = projector.account("busy")
    async with (
        WebSocketClient(gateway.ws, sock=narrow_socket(gateway.http)) as slow,
        WebSocketClient(gateway.ws) as neighbour,
    ):
        for client in (slow, neighbour):
            await client.subscribe("busy")
            await client.until_at("busy", 1)
        before = await counters(gateway)

        async def write(batches: int) -> None:
            for number in range(batches):
                await projector.transfer("busy", *[number] * 20)
                await neighbour.until_at("busy", page.revision)
                assert max(waiting(one) for one in sockets) <= bound

        for _ in range(2):
            slow.reading.clear()
            await write(50)
            await read_on(slow)
        slow.reading.set()
        assert_shows(await slow.until_at("busy", page.revision, within=20), page)
        assert len(slow.of_type("delta")) < 80
        slow.reading.clear()
        await write(60)
        await gateway.until_sessions(1)
        assert_shows(neighbour.shown["busy"], page)
        assert len(neighbour.of_type("delta")) == 160
        grown = {name: count - before[name] for name, count in (await counters(gateway)).items()}
        assert grown["conflated"] > 10
        assert grown["forgotten"] > 0
        assert grown["aborted"] == 1
        slow.reading.set()


# --- everything at once


class Racer(WebSocketClient):
    """Frames of an account chain from the answer to its last question; after its end none of it may come."""

    def __init__(self, url: str, subject: str) -> None:
        super().__init__(url, shows=token(sub=subject))
        self.subject = subject
        self.asked: dict[str, int] = {}  # of an account, the last question, until its ok
        self.following: set[str] = set()
        self.ended: set[str] = set()
        self.taken_back: set[str] = set()  # as it was told

    async def ask_for(self, account: str, how: str) -> None:
        shown = self.shown.setdefault(account, ShownAccount())
        if how == "off":
            self.following.discard(account)
            self.asked[account] = await self.request("unsubscribe", channels=[f"account:{account}"])
            return
        if how == "anew":
            shown.position = None
        self.following.add(account)
        self.ended.discard(account)
        self.asked[account] = await self.subscribe(account, position=shown.position)

    async def _receive(self, frame: Frame) -> None:
        account = frame.get("channel", "").removeprefix("account:")
        if frame["type"] == "ok":
            answered = {one for one, request in self.asked.items() if request == frame["id"]}
            self.asked = {one: request for one, request in self.asked.items() if one not in answered}
            self.ended |= answered - self.following
        elif frame["type"] in ("unsubscribed", "error"):
            assert frame["code"] == {"unsubscribed": "revoked", "error": "no_access"}[frame["type"]]
            self.following.discard(account)
            self.ended.add(account)
            self.taken_back.add(account)
        elif account:
            assert account not in self.ended | self.taken_back
            if account in self.asked:
                return  # sent before the question was heard
        await super()._receive(frame)

    def is_current(self, projector: FakeProjector) -> bool:
        return all(self.revision(one) == projector.account(one).revision for one in self.following)


async def test_f32_clients_ask_for_everything_at_once(
    start_gateway: StartGateway, projector: FakeProjector, database: Database
) -> None:
    """For an account, for no more of it, and again, while money moves and rights are taken back."""
    random = Random(32)
    gateway = await start_gateway(message_rate=1000, revocation_poll_seconds=0.5, recovery_page_rows=5)
    accounts = [f"a-{number}" for number in range(8)]
    await projector.open(*accounts)
    operator = await asyncpg.connect(database.url("operator"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(operator.close)
        some = [Racer(gateway.ws, f"racer-{number}") for number in range(4)]
        for racer in some:
            await stack.enter_async_context(racer)
        taken: dict[Racer, set[str]] = {racer: set() for racer in some}
        async with transferring(projector, accounts):
            for _ in range(500):
                racer, account = random.choice(some), random.choice(accounts)
                if random.random() < 0.02:
                    await revoke(operator, racer.subject, None, AccountId(account), "a test")
                    taken[racer].add(account)
                await racer.ask_for(account, random.choice(("anew", "on", "on", "off")))
                await asyncio.sleep(random.random() * 0.01)
            for racer in some:
                await racer.until(partial(taken[racer].isdisjoint, racer.following), within=5)
        for racer in some:
            assert racer.taken_back <= taken[racer]
            assert racer.following
            await racer.until(lambda racer=racer: not racer.asked and racer.is_current(projector))
            for account in racer.following:
                page, shown = projector.account(account), racer.shown[account]
                ids = [one["id"] for one in shown.transfers]
                assert ids == [one.id for one in page.transfers[-len(ids) :]]
                assert shown.balance
                assert shown.balance["transfer_id"] == page.balance_transfer
