"""A gateway is killed, deployed or paused, or its clock jumps: its clients miss nothing."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime, tzinfo
from functools import partial
from typing import Self

import pytest

from livebalance.client.event import Changed, Connected, Disconnected
from livebalance.gateway.lifecycle import RETRY_AFTER_DRAIN_MS
from livebalance.gateway.postgres.read_queue import RESUMES_BURST, RESUMES_PER_SECOND
from livebalance.wire.frame import Goaway, Snapshot
from livebalance.wire.timestamp import Millis, format_rfc3339
from tests.bench.client_fleet import ClientFleet
from tests.integration.gateway.checked_client import CheckedClient
from tests.integration.gateway.conftest import RunningGateway, StartGateway, StartProcess
from tests.integration.gateway.fake_projector import FakeProjector, transferring
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import Frame, WebSocketClient
from tests.tokens import token

CLIENTS, ACCOUNTS = 300, [f"acc-{number:05}" for number in range(100)]
HEALTH_TIMEOUT = 20.0  # seconds
CHECKED_CLIENTS, DRAIN, GRACE = 30, 1.5, 30.0  # clients, and seconds; a deployment kills after the grace


def max_statements(seconds: float) -> float:
    """Returns the most statements that any number of clients may need to resume within `seconds`."""
    return 2 + RESUMES_BURST + (1 + RESUMES_PER_SECOND) * seconds


@contextmanager
def running_fleet() -> Iterator[ClientFleet]:
    """A fleet of clients that disconnect at the end."""
    fleet = ClientFleet()
    yield fleet
    fleet.closing = True
    for client in fleet.clients:
        if client.transport:
            client.transport.abort()


@asynccontextmanager
async def healthy(process: GatewayProcess) -> AsyncIterator[None]:
    """Asserts that a gateway is healthy all the time, and answers soon."""
    done = asyncio.Event()

    async def check() -> None:
        while not done.is_set():
            for path in ("/livez", "/readyz"):
                async with asyncio.timeout(HEALTH_TIMEOUT):
                    assert await process.status(path) == 200

    async with asyncio.TaskGroup() as group:
        group.create_task(check())
        yield
        done.set()


async def assert_exact(fleet: ClientFleet, projector: FakeProjector) -> None:
    """Asserts that every client is at Postgres' revisions, and that no client saw a gap or went back."""
    expected = {
        f"account:{account}": [revision] for account, revision in (await projector.revisions()).items()
    }
    async with asyncio.timeout(30):
        while await fleet.revisions() != expected:  # noqa: ASYNC110 - the fleet has no event
            await asyncio.sleep(0.1)
    assert (fleet.gaps, fleet.went_back) == (0, 0)


async def test_f26_clients_of_killed_gateway_resume_with_few_statements(
    start_process: StartProcess, projector: FakeProjector
) -> None:
    """They resume at a gateway without their history, from their positions."""
    await projector.open(*ACCOUNTS)
    first, second = await start_process("gateway-1"), await start_process("gateway-2")
    with running_fleet() as fleet:
        async with transferring(projector, ACCOUNTS):
            await fleet.connect(first.port, CLIENTS, len(ACCOUNTS), per_second=400)
            fleet.snapshots.clear()
            before = await second.counter("read_statements_total")
            async with healthy(second):
                first.child.kill()
                times = await fleet.disconnect_all(second.port)
            statements = await second.counter("read_statements_total") - before
        await assert_exact(fleet, projector)
    assert times["last"] < 60
    assert not fleet.snapshots
    assert statements <= max_statements(times["last"])


async def test_f36_clients_disconnected_at_once_retry_and_resume(
    start_process: StartProcess, projector: FakeProjector
) -> None:
    """The other gateway has no history, and rejects clients over its connection rate. They retry."""
    await projector.open(*ACCOUNTS)
    first, second = await start_process("gateway-1"), await start_process("gateway-2", connection_rate=50)
    with running_fleet() as fleet:
        async with transferring(projector, ACCOUNTS):
            await fleet.connect(first.port, CLIENTS, len(ACCOUNTS), per_second=400)
            fleet.snapshots.clear()
            before = await second.counter("read_statements_total")
            async with healthy(second):
                times = await fleet.disconnect_all(second.port)
            statements = await second.counter("read_statements_total") - before
        await assert_exact(fleet, projector)
    assert fleet.rejected > CLIENTS / 10
    assert fleet.rejected == await second.counter("rejected_requests_total", reason="too_fast")
    assert all(head.startswith(b"HTTP/1.1 503 ") and b"\nretry-after: " in head for head in fleet.rejections)
    assert times["last"] < 60
    assert not fleet.snapshots
    assert statements <= max_statements(times["last"])


async def test_f27_clients_of_deployed_gateways_move_and_miss_nothing(
    start_process: StartProcess, projector: FakeProjector
) -> None:
    """Clients get `goaway` and leave over the drain period. A client that remains is closed, and returns."""
    accounts = ACCOUNTS[:3]
    await projector.open(*accounts)
    gateways = [await start_process(f"gateway-{n}", drain_period_seconds=DRAIN) for n in (1, 2)]
    async with AsyncExitStack() as stack:
        urls = [gateway.ws for gateway in gateways]
        checked_clients = [
            await stack.enter_async_context(CheckedClient(urls, accounts)) for _ in range(CHECKED_CLIENTS)
        ]
        for checked in checked_clients:
            await checked.until(partial(checked.of, Changed))
        async with transferring(projector, accounts, pause=0.02):
            for deployed, other in (gateways, gateways[::-1]):
                await deploy(deployed, checked_clients, accounts)
                for checked in checked_clients:
                    await checked.until(partial(is_at, checked, other))
        for checked in checked_clients:
            await checked.until_current(projector)
            checked.assert_exact(projector)
            assert connection_events(checked) == [Connected, Goaway, 4000, Connected, Goaway, 4000, Connected]
            assert [frame.reason for frame in checked.frames if isinstance(frame, Snapshot)] == [
                "subscribed"
            ] * 3


async def deploy(gateway: GatewayProcess, checked_clients: list[CheckedClient], accounts: list[str]) -> None:
    """Stops a gateway and starts it again. Some of its clients ignore `goaway`."""
    async with AsyncExitStack() as stack:
        lazy = [await stack.enter_async_context(WebSocketClient(gateway.ws)) for _ in range(10)]
        for client in lazy:
            await client.subscribe(*accounts)
            await client.until(lambda client=client: len(client.shown) == len(accounts))
        gateway.child.send(signal.SIGTERM)
        for client in lazy:
            await client.until_closed()
            assert client.of_type("goaway")[0]["reconnect_within_ms"] == DRAIN * 1000
        assert await gateway.exited(within=GRACE) == 0
        assert {client.closed and client.closed[0] for client in lazy} == {4000}
        waits = {json.loads(client.closed[1])["retry_after_ms"] for client in lazy if client.closed}
        assert waits == {RETRY_AFTER_DRAIN_MS}
    await gateway.start()


def is_at(checked: CheckedClient, gateway: GatewayProcess) -> bool:
    return checked.of(Connected)[-1].url == gateway.ws and not isinstance(checked.events[-1], Disconnected)


def connection_events(checked: CheckedClient) -> list[object]:
    """Returns the kinds of the events of a client's connections, in order; the code for a disconnect."""
    events = [event for event in checked.events if isinstance(event, Connected | Goaway | Disconnected)]
    return [event.code if isinstance(event, Disconnected) else type(event) for event in events]


async def test_f28_clients_of_paused_gateway_reconnect_or_catch_up(
    start_process: StartProcess, projector: FakeProjector
) -> None:
    """It pauses longer than clients wait for a heartbeat. A client that stays gets no false `as_of`."""
    first = await start_process(
        "gateway-1", max_pause=None, heartbeat_interval_seconds=0.4, audit_interval_seconds=1.0
    )
    second = await start_process("gateway-2")
    await projector.open("sent", "lost")
    async with (
        CheckedClient([first.ws, second.ws], ["sent", "lost"]) as checked,
        WebSocketClient(first.ws) as stays,
    ):
        await stays.subscribe("sent", "lost")
        await stays.until(partial(has_heartbeat_as_of_now, stays, projector))
        await checked.until_current(projector)
        first.child.send(signal.SIGSTOP)
        commits = []
        for account, silent in [("sent", False), ("lost", True)] * 10:
            projector.silent = silent
            await projector.transfer(account, 5)
            commits.append((format_rfc3339(projector.as_of), account, projector.account(account).revision))
        await checked.until(lambda: checked.of(Disconnected))
        assert checked.of(Disconnected)[0][:2] == (1006, "silent")
        await checked.until_current(projector)
        assert is_at(checked, second)
        first.child.send(signal.SIGCONT)
        await stays.until(partial(has_heartbeat_as_of_now, stays, projector))
        for account in ("sent", "lost"):
            assert_shows(stays.shown[account], projector.account(account))
        assert_claims_no_more_than_was_sent(stays.frames, commits)
        assert await first.counter("audit_findings_total", reason="ahead") >= 1
        checked.assert_exact(projector)


def heartbeats(client: WebSocketClient) -> list[str | None]:
    return [frame["as_of"] for frame in client.of_type("heartbeat")]


def assert_claims_no_more_than_was_sent(frames: list[Frame], commits: list[tuple[str, str, int]]) -> None:
    """Asserts each `as_of`. `commits` have the time, the account and the revision of each commit."""
    revisions: dict[str, int] = {}
    for frame in frames:
        if frame["type"] in ("snapshot", "delta"):
            revisions[frame["channel"].removeprefix("account:")] = frame[
                "to" if frame["type"] == "delta" else "revision"
            ]
        elif frame["type"] == "heartbeat" and frame["as_of"]:
            for as_of, account, revision in commits:
                assert as_of > frame["as_of"] or revisions[account] >= revision


class Clock:
    """The wall clock of this process, which is `ahead` by some seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real_time_ns = time.time_ns
        self.ahead = 0

        class ShiftedDatetime(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return cls.fromtimestamp(time.time(), tz)

        monkeypatch.setattr(time, "time_ns", self._now)
        monkeypatch.setattr(time, "time", lambda: self._now() / 1e9)
        monkeypatch.setattr("jwt.api_jwt.datetime", ShiftedDatetime)  # PyJWT reads the time there

    def _now(self) -> int:
        return self._real_time_ns() + self.ahead * 1_000_000_000

    def millis(self) -> Millis:
        return Millis(self._now() // 1_000_000)


@pytest.mark.parametrize("jump", [3600, -3600])
async def test_f33_clock_jump_changes_only_times_and_token_expiry(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    """The clock jumps and jumps back."""
    clock = Clock(monkeypatch)
    gateway = await start_gateway(
        heartbeat_interval_seconds=0.2,
        ping_interval_seconds=1.0,
        write_timeout_seconds=5.0,
        audit_interval_seconds=0.2,
        revocation_poll_seconds=0.2,
    )
    projector.as_of = clock.millis()
    await projector.open("alice")
    async with AsyncExitStack() as stack:
        shown = token(seconds=600)  # expired after the jump
        clients = [
            await stack.enter_async_context(WebSocketClient(gateway.ws, token=shown)) for _ in range(5)
        ]
        for client in clients:
            await client.subscribe("alice")
            await client.until(partial(has_heartbeat_as_of_now, client, projector))
            await client.until(lambda client=client: client.of_type("status")[-1]["state"] == "live")
        for clock.ahead in (jump, 0):
            for client in clients:
                client.frames.clear()
            await projector.transfer("alice", 5)
            for client in clients:
                assert_shows(
                    await client.until_at("alice", projector.account("alice").revision),
                    projector.account("alice"),
                )
                await client.until(lambda client=client: len(heartbeats(client)) >= 8)  # and some pings
                await client.until(partial(has_heartbeat_as_of_now, client, projector))
                assert {frame["type"] for frame in client.frames} == {"heartbeat", "delta"}
                server_time = client.of_type("heartbeat")[-1]["server_time"]
                assert (
                    format_rfc3339(Millis(clock.millis() - 5000))
                    <= server_time
                    <= format_rfc3339(clock.millis())
                )
            await assert_expiry_follows_the_clock(gateway)


def has_heartbeat_as_of_now(client: WebSocketClient, projector: FakeProjector) -> bool:
    return heartbeats(client)[-1:] == [format_rfc3339(projector.as_of)]


async def assert_expiry_follows_the_clock(gateway: RunningGateway) -> None:
    """Asserts that the gateway accepts tokens for a minute after their expiry, by its clock."""
    async with WebSocketClient(gateway.ws, token=token(seconds=-50)) as client:
        await client.until(lambda: client.of_type("welcome"))
    async with WebSocketClient(gateway.ws, token=token(seconds=-70)) as client:
        assert (await client.until_closed())[0] == 4001
