"""Clients that are slow, dead, silently disconnected, or send many requests: other clients notice nothing."""

import asyncio
import ctypes
import os
import socket
import struct
from contextlib import AsyncExitStack
from functools import partial
from random import Random

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
from tests.scrape import wait_for_metrics
from tests.servers.database import Database
from tests.tokens import token

SO_ATTACH_FILTER = 26  # of Linux


def drop_packets(client: WebSocketClient) -> None:
    """Drops all packets to a client from now on, so that TCP acknowledges nothing."""
    verdict = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # a filter that accepts 0 bytes
    program = struct.pack("@HP", 1, ctypes.addressof(verdict))
    sock: socket.socket = client.transport.get_extra_info("socket")
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    except PermissionError:
        reason = "skipped: only root may drop packets on this system"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


async def test_f30_silently_broken_connections_are_closed_by_each_side(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    """No byte passes in either direction, and no side closes: each must notice by itself."""
    gateway = await start_gateway(heartbeat_interval_seconds=0.3, ping_interval_seconds=1.0)
    await projector.open("alice")
    async with (
        faulty_proxy(gateway.ws) as (proxy, proxied),
        WebSocketClient(gateway.ws) as neighbour,
        WebSocketClient(proxied) as acknowledged,  # the proxy acknowledges what is sent to this client
        WebSocketClient(gateway.ws) as dropped,
        CheckedClient([proxied, gateway.ws], ["alice"]) as checked,
    ):
        for client in (neighbour, acknowledged, dropped):
            await client.subscribe("alice")
            await client.until_at("alice", 1)
        await checked.until_current(projector)
        before = await gateway.counter("closed_connections", code="1006", reason="silent")
        proxy.drop_all()
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
        assert (acknowledged.revision("alice"), dropped.revision("alice")) == (1, 1)
        await projector.transfer("alice", 5)
        assert_shows(await neighbour.until_at("alice", 5), projector.account("alice"))
        assert len(neighbour.of_type("delta")) == 2


# --- slow, then dead


def queued_bytes(connection: WebSocketConnection) -> int:
    """Returns the bytes that wait for a client in the gateway."""
    outbox = connection._session.outbox.size if connection._session else 0
    return outbox + connection.transport.get_write_buffer_size()


async def read_some(client: WebSocketClient) -> None:
    """Reads at least another frame."""
    before = len(client.frames)
    client.reading.set()
    await client.until(lambda: len(client.frames) > before)


async def counters(gateway: RunningGateway) -> dict[str, float]:
    return {
        "conflated": await gateway.counter("conflated_frames", reason="slow"),
        "overflows": await gateway.counter("client_queue_overflows"),
        "aborted": await gateway.counter("closed_connections", code="1006", reason="no_progress"),
    }


async def test_resume_of_many_accounts_by_a_client_that_does_not_read_stays_within_the_bound(
    start_gateway: StartGateway, projector: FakeProjector, connections: list[WebSocketConnection]
) -> None:
    gateway = await start_gateway(send_buffer_bytes=8192)
    accounts = [f"account-{number}" for number in range(8)]
    await projector.open(*accounts)
    async with WebSocketClient(gateway.ws) as earlier:
        await earlier.subscribe(*accounts)
        for account in accounts:
            await earlier.until_at(account, 1)
    for account in accounts:
        await projector.transfer(account, *[1] * 200)
    reads = await gateway.counter("account_reads")
    async with WebSocketClient(gateway.ws, sock=narrow_socket(gateway.http)) as resuming:
        resuming.reading.clear()
        await resuming.subscribe(*accounts, position=earlier.shown["account-0"].position)
        name = "livebalance_gateway_account_reads_total"
        await wait_for_metrics(gateway.operations, lambda now: now.sum(name) >= reads + len(accounts))
        last_write, waiting = gateway.settings.client_queue_bytes, TransportTimeouts().high_water
        assert waiting < connections[-1].transport.get_write_buffer_size() <= waiting + last_write
        resuming.shown = earlier.shown
        resuming.reading.set()
        for account in accounts:
            assert_shows(await resuming.until_at(account, 401), projector.account(account))


async def test_f29_client_that_is_slow_and_then_dead_is_conflated_and_closed(
    start_gateway: StartGateway, projector: FakeProjector, connections: list[WebSocketConnection]
) -> None:
    """It gets every transfer in fewer frames, its queue is bounded, and another client gets every frame."""
    gateway = await start_gateway(
        send_buffer_bytes=8192, recovery_page_rows=50, ping_interval_seconds=1.0, write_timeout_seconds=3600.0
    )
    bound = (
        2 * gateway.settings.client_queue_bytes + TransportTimeouts().high_water
    )  # the queue, and the transport's buffer
    await projector.open("busy")
    expected = projector.account("busy")
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
                await neighbour.until_at("busy", expected.revision)
                assert max(queued_bytes(connection) for connection in connections) <= bound

        for _ in range(2):
            slow.reading.clear()
            await write(50)
            await read_some(slow)
        slow.reading.set()
        assert_shows(await slow.until_at("busy", expected.revision), expected)
        assert len(slow.of_type("delta")) < 80
        slow.reading.clear()
        await write(60)
        connections[0]._timeouts = connections[0]._timeouts._replace(write_timeout=2.0)
        await gateway.until_sessions(1)
        assert_shows(neighbour.shown["busy"], expected)
        assert len(neighbour.of_type("delta")) == 160
        grown = {name: count - before[name] for name, count in (await counters(gateway)).items()}
        assert grown["conflated"] > 10
        assert grown["overflows"] > 0
        assert grown["aborted"] == 1
        slow.reading.set()


# --- many requests at once


class Racer(WebSocketClient):
    """The frames of an account chain from the answer to its last request. None may come after its end."""

    def __init__(self, url: str, subject: str) -> None:
        super().__init__(url, token=token(sub=subject))
        self.subject = subject
        self.requests: dict[str, int] = {}  # the last request for an account, until its ok
        self.subscribed: set[str] = set()
        self.ended: set[str] = set()
        self.revoked: set[str] = set()

    async def send_request(self, account: str, kind: str) -> None:
        shown = self.shown.setdefault(account, ShownAccount())
        if kind == "unsubscribe":
            self.subscribed.discard(account)
            self.requests[account] = await self.request("unsubscribe", channels=[f"account:{account}"])
            return
        if kind == "subscribe":
            shown.position = None
        self.subscribed.add(account)
        self.ended.discard(account)
        self.requests[account] = await self.subscribe(account, position=shown.position)

    async def _receive(self, frame: Frame) -> None:
        account = frame.get("channel", "").removeprefix("account:")
        if frame["type"] == "ok":
            answered = {name for name, request in self.requests.items() if request == frame["id"]}
            self.requests = {name: request for name, request in self.requests.items() if name not in answered}
            self.ended |= answered - self.subscribed
        elif frame["type"] in ("unsubscribed", "error"):
            assert frame["code"] == {"unsubscribed": "revoked", "error": "no_access"}[frame["type"]]
            self.subscribed.discard(account)
            self.ended.add(account)
            self.revoked.add(account)
        elif account:
            assert account not in self.ended | self.revoked
            if account in self.requests:
                return  # sent before the gateway read the request
        await super()._receive(frame)

    def is_current(self, projector: FakeProjector) -> bool:
        return all(
            self.revision(account) == projector.account(account).revision for account in self.subscribed
        )


async def test_f32_concurrent_requests_and_revocations_keep_accounts_correct(
    start_gateway: StartGateway, projector: FakeProjector, database: Database
) -> None:
    """Clients subscribe, resume and unsubscribe at random, during transfers and revocations."""
    random = Random(32)
    gateway = await start_gateway(message_rate=1000, revocation_poll_seconds=0.5, recovery_page_rows=5)
    accounts = [f"a-{number}" for number in range(8)]
    await projector.open(*accounts)
    operator = await asyncpg.connect(database.url("operator"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(operator.close)
        racers = [Racer(gateway.ws, f"racer-{number}") for number in range(4)]
        for racer in racers:
            await stack.enter_async_context(racer)
        revoked: dict[Racer, set[str]] = {racer: set() for racer in racers}
        async with transferring(projector, accounts):
            for _ in range(500):
                racer, account = random.choice(racers), random.choice(accounts)
                if random.random() < 0.02:
                    await revoke(operator, racer.subject, None, AccountId(account), "a test")
                    revoked[racer].add(account)
                await racer.send_request(
                    account, random.choice(("subscribe", "resume", "resume", "unsubscribe"))
                )
                await asyncio.sleep(random.random() * 0.01)
            for racer in racers:
                await racer.until(partial(revoked[racer].isdisjoint, racer.subscribed))
        for racer in racers:
            assert racer.revoked <= revoked[racer]
            assert racer.subscribed
            await racer.until(lambda racer=racer: not racer.requests and racer.is_current(projector))
            for account in racer.subscribed:
                expected, shown = projector.account(account), racer.shown[account]
                ids = [transfer["id"] for transfer in shown.transfers]
                assert ids == [transfer.id for transfer in expected.transfers[-len(ids) :]]
                assert shown.balance
                assert shown.balance["transfer_id"] == expected.balance_transfer
