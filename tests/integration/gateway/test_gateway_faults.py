"""A gateway is killed, deployed, paused or told a wrong time: its clients miss nothing."""

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
from livebalance.gateway.postgres.read_queue import RESUMES_BURST, RESUMES_PER_SECOND
from livebalance.wire.frame import Goaway, Snapshot
from livebalance.wire.timestamp import Millis, format_rfc3339
from tests.bench.crowd import Crowd
from tests.integration.gateway.checked_client import CheckedClient
from tests.integration.gateway.conftest import RunningGateway, StartGateway, StartProcess
from tests.integration.gateway.fake_projector import FakeProjector, transferring
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import Frame, WebSocketClient
from tests.tokens import token

CLIENTS, ACCOUNTS = 300, [f"acc-{number:05}" for number in range(100)]
HEALTH_WITHIN = 2.0  # seconds
WATCHERS, DRAIN, GRACE = 30, 1.5, 5.0  # seconds; a deployment kills after the grace


def few(seconds: float) -> float:
    """Statements for all who come back within that time; each account alone would be one."""
    return 2 + RESUMES_BURST + (1 + RESUMES_PER_SECOND) * seconds


@contextmanager
def gathered() -> Iterator[Crowd]:
    """A crowd that goes home at the end."""
    crowd = Crowd()
    yield crowd
    crowd.leaving = True
    for member in crowd.members:
        if member.transport:
            member.transport.abort()


@asynccontextmanager
async def healthy(process: GatewayProcess) -> AsyncIterator[None]:
    """It says so meanwhile, whenever it is asked, and soon."""
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            for path in ("/livez", "/readyz"):
                async with asyncio.timeout(HEALTH_WITHIN):
                    assert await process.status(path) == 200

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        yield
        done.set()


async def assert_exact(crowd: Crowd, projector: FakeProjector) -> None:
    """Everyone is where SQL is; nobody was ever sent back, or past a hole."""
    truth = {f"account:{account}": [revision] for account, revision in (await projector.revisions()).items()}
    async with asyncio.timeout(15):
        while await crowd.where() != truth:  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.1)
    assert (crowd.holes, crowd.back) == (0, 0)


async def test_f26_a_gateway_is_killed(start_process: StartProcess, projector: FakeProjector) -> None:
    """Its clients resume at one that knows nothing of them, from their positions: few statements for all."""
    await projector.open(*ACCOUNTS)
    first, second = await start_process("gateway-1"), await start_process("gateway-2")
    with gathered() as crowd:
        async with transferring(projector, ACCOUNTS):
            await crowd.come(first.port, CLIENTS, len(ACCOUNTS), per_second=400)
            crowd.snapshots.clear()
            before = await second.counter("read_statements_total")
            async with healthy(second):
                first.child.kill()
                told = await crowd.cut(second.port)
            statements = await second.counter("read_statements_total") - before
        await assert_exact(crowd, projector)
    assert told["last"] < 30
    assert not crowd.snapshots
    assert statements <= few(told["last"])


async def test_f36_everyone_is_cut_at_once(start_process: StartProcess, projector: FakeProjector) -> None:
    """They find one that knows nothing. Who is too many there is turned away at the door, and comes again."""
    await projector.open(*ACCOUNTS)
    first, second = await start_process("gateway-1"), await start_process("gateway-2", connection_rate=100)
    with gathered() as crowd:
        async with transferring(projector, ACCOUNTS):
            await crowd.come(first.port, CLIENTS, len(ACCOUNTS), per_second=400)
            crowd.snapshots.clear()
            before = await second.counter("read_statements_total")
            async with healthy(second):
                told = await crowd.cut(second.port)
            statements = await second.counter("read_statements_total") - before
        await assert_exact(crowd, projector)
    assert crowd.turned > CLIENTS / 10
    assert crowd.turned == await second.counter("turned_away_total", reason="too_fast")
    assert all(one.startswith(b"HTTP/1.1 503 ") and b"\nretry-after: " in one for one in crowd.refusals)
    assert told["last"] < 60
    assert not crowd.snapshots
    assert statements <= few(told["last"])


async def test_f27_one_gateway_after_the_other_is_deployed(
    start_process: StartProcess, projector: FakeProjector
) -> None:
    """All are told first and leave over the drain's time; who stays is closed with a time of its own."""
    accounts = ACCOUNTS[:3]
    await projector.open(*accounts)
    gateways = [await start_process(f"gateway-{n}", drain_period_seconds=DRAIN) for n in (1, 2)]
    async with AsyncExitStack() as stack:
        urls = [gateway.ws for gateway in gateways]
        checked_clients = [
            await stack.enter_async_context(CheckedClient(urls, accounts)) for _ in range(WATCHERS)
        ]
        for checked in checked_clients:
            await checked.until(partial(checked.of, Changed))
        async with transferring(projector, accounts, pause=0.02):
            for goes, stays in (gateways, gateways[::-1]):
                await deployed(goes, checked_clients, accounts)
                for checked in checked_clients:
                    await checked.until(partial(is_at, checked, stays))
        for checked in checked_clients:
            await checked.until_current(projector)
            checked.assert_exact(projector)
            assert lives(checked) == [Connected, Goaway, 4000, Connected, Goaway, 4000, Connected]
            assert [one.reason for one in checked.frames if isinstance(one, Snapshot)] == ["subscribed"] * 3


async def deployed(
    gateway: GatewayProcess, checked_clients: list[CheckedClient], accounts: list[str]
) -> None:
    """It is ended and started again. Some of its clients do not go by themselves."""
    async with AsyncExitStack() as stack:
        lazy = [await stack.enter_async_context(WebSocketClient(gateway.ws)) for _ in range(10)]
        for client in lazy:
            await client.subscribe(*accounts)
            await client.until(lambda client=client: len(client.shown) == len(accounts))
        gateway.child.send(signal.SIGTERM)
        for client in lazy:
            await client.until_closed(DRAIN + 5)
            assert client.of_type("goaway")[0]["reconnect_within_ms"] == DRAIN * 1000
        assert await gateway.exited(within=GRACE) == 0
        assert {client.closed and client.closed[0] for client in lazy} == {4000}
        waits = {json.loads(client.closed[1])["retry_after_ms"] for client in lazy if client.closed}
        assert len(waits) == len(lazy)
        assert max(waits) <= DRAIN * 1000
    await gateway.start()


def is_at(checked: CheckedClient, gateway: GatewayProcess) -> bool:
    return checked.of(Connected)[-1].url == gateway.ws and not isinstance(checked.events[-1], Disconnected)


def lives(checked: CheckedClient) -> list[object]:
    """What became of its connections, in order; of one that ended, the code."""
    told = [one for one in checked.events if isinstance(one, Connected | Goaway | Disconnected)]
    return [one.code if isinstance(one, Disconnected) else type(one) for one in told]


async def test_f28_a_gateway_is_paused(start_process: StartProcess, projector: FakeProjector) -> None:
    """Longer than its clients wait for a word. One that stays all the same is told nothing that is not so."""
    first = await start_process("gateway-1", heartbeat_interval_seconds=0.4, audit_interval_seconds=1.0)
    second = await start_process("gateway-2", heartbeat_interval_seconds=0.4)
    await projector.open("heard", "lost")
    async with (
        CheckedClient([first.ws, second.ws], ["heard", "lost"]) as checked,
        WebSocketClient(first.ws) as stays,
    ):
        await stays.subscribe("heard", "lost")
        await stays.until(partial(is_told, stays, projector))
        await checked.until_current(projector)
        first.child.send(signal.SIGSTOP)
        commits = []
        for account, deaf in [("heard", False), ("lost", True)] * 10:
            projector.silent = deaf
            await projector.transfer(account, 5)
            commits.append((format_rfc3339(projector.as_of), account, projector.account(account).revision))
        await checked.until(lambda: checked.of(Disconnected))
        assert checked.of(Disconnected)[0][:2] == (1006, "silent")
        await checked.until_current(projector)
        assert is_at(checked, second)
        first.child.send(signal.SIGCONT)
        await stays.until(partial(is_told, stays, projector))
        for account in ("heard", "lost"):
            assert_shows(stays.shown[account], projector.account(account))
        assert_claims_no_more_than_was_sent(stays.frames, commits)
        assert await first.counter("audit_findings_total", reason="ahead") >= 1
        checked.assert_exact(projector)


def beats(client: WebSocketClient) -> list[str | None]:
    return [frame["as_of"] for frame in client.of_type("heartbeat")]


def assert_claims_no_more_than_was_sent(frames: list[Frame], commits: list[tuple[str, str, int]]) -> None:
    """`commits`: as of when, of which account, which revision."""
    at: dict[str, int] = {}
    for frame in frames:
        if frame["type"] in ("snapshot", "delta"):
            at[frame["channel"].removeprefix("account:")] = frame[
                "to" if frame["type"] == "delta" else "revision"
            ]
        elif frame["type"] == "heartbeat" and frame["as_of"]:
            for as_of, account, revision in commits:
                assert as_of > frame["as_of"] or at[account] >= revision


class Clock:
    """The wall clock of this process, for all that looks at it. `ahead`: seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._true = time.time_ns
        self.ahead = 0

        class Jumping(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return cls.fromtimestamp(time.time(), tz)

        monkeypatch.setattr(time, "time_ns", self._now)
        monkeypatch.setattr(time, "time", lambda: self._now() / 1e9)
        monkeypatch.setattr("jwt.api_jwt.datetime", Jumping)  # the checker of tokens looks there

    def _now(self) -> int:
        return self._true() + self.ahead * 1_000_000_000

    def millis(self) -> Millis:
        return Millis(self._now() // 1_000_000)


@pytest.mark.parametrize("jump", [3600, -3600])
async def test_f33_the_clock_jumps(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    """And back. What is told of the time changes, and which tokens are too old: nothing else does."""
    clock = Clock(monkeypatch)
    gateway = await start_gateway(
        heartbeat_interval_seconds=0.2,
        ping_interval_seconds=0.5,
        write_timeout_seconds=1.0,
        audit_interval_seconds=0.2,
        revocation_poll_seconds=0.2,
    )
    projector.as_of = clock.millis()
    await projector.open("alice")
    async with AsyncExitStack() as stack:
        shown = token(seconds=600)  # when the clock has jumped it is past that
        clients = [
            await stack.enter_async_context(WebSocketClient(gateway.ws, token=shown)) for _ in range(5)
        ]
        for client in clients:
            await client.subscribe("alice")
            await client.until(partial(is_told, client, projector))
            assert client.of_type("status")[-1]["state"] == "live"
        for clock.ahead in (jump, 0):
            for client in clients:
                client.frames.clear()
            await projector.transfer("alice", 5)
            for client in clients:
                assert_shows(
                    await client.until_at("alice", projector.account("alice").revision),
                    projector.account("alice"),
                )
                await client.until(lambda client=client: len(beats(client)) >= 8)  # and some pings
                await client.until(partial(is_told, client, projector))
                assert {frame["type"] for frame in client.frames} == {"heartbeat", "delta"}
                told = client.of_type("heartbeat")[-1]["server_time"]
                assert format_rfc3339(Millis(clock.millis() - 5000)) <= told <= format_rfc3339(clock.millis())
            await assert_knows_how_old_tokens_are(gateway)


def is_told(client: WebSocketClient, projector: FakeProjector) -> bool:
    return beats(client)[-1:] == [format_rfc3339(projector.as_of)]


async def assert_knows_how_old_tokens_are(gateway: RunningGateway) -> None:
    """By its clock, and a minute more."""
    async with WebSocketClient(gateway.ws, token=token(seconds=-50)) as client:
        await client.until(lambda: client.of_type("welcome"))
    async with WebSocketClient(gateway.ws, token=token(seconds=-70)) as client:
        assert (await client.until_closed())[0] == 4001
