"""Redis that keeps its connections and delivers nothing, or drops what it cannot deliver: only we can tell.

Audits are too rare here to heal anything: what heals is the one that follows a new connection.
"""

import asyncio
import signal
import time

import pytest
import redis.asyncio

from livebalance.stack.servers.servers import Servers
from livebalance.wire.delta import encode_delta, redis_account
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.hole import hole
from tests.integration.gateway.test_following import assert_shows
from tests.integration.gateway.viewer import Viewer

RARE = 60.0  # seconds
ACCOUNTS = [f"a-{number}" for number in range(20)]


@pytest.fixture
def redis_url(own_redis: Servers) -> str:
    return own_redis.redis()


@pytest.fixture
async def book(book: Book) -> Book:
    """What is there is of now, so that the pipeline is live without another audit."""
    book.as_of = Millis(time.time_ns() // 1_000_000)
    await book.advance()
    return book


def words(viewer: Viewer) -> list[str]:
    return [frame["state"] for frame in viewer.of_type("status")]


class Watch:
    """All accounts on one screen, and the counters as they were then."""

    def __init__(self, gateway: Running, book: Book, viewer: Viewer) -> None:
        self._gateway, self._book, self._viewer = gateway, book, viewer
        self._before: dict[str, float] = {}

    async def begin(self) -> None:
        await self._book.open(*ACCOUNTS)
        await self._viewer.follow(*ACCOUNTS)
        await self._viewer.until(lambda: len(self._viewer.shown) == len(ACCOUNTS))
        await self._viewer.until(lambda: words(self._viewer)[-1:] == ["live"])
        self._before = await self._counters()

    async def _counters(self) -> dict[str, float]:
        counted = self._gateway.counted
        lost = {why: await counted("redis_disconnects", reason=why) for why in ("deaf", "closed", "timeout")}
        found = await counted("audit_findings", reason="ahead")
        return {**lost, "found": found, "repaired": await counted("gap_repairs", reason="audit")}

    async def grown(self) -> dict[str, float]:
        return {name: count - self._before[name] for name, count in (await self._counters()).items()}

    async def move_unheard(self) -> None:
        """In SQL alone: whatever is told of it is lost."""
        self._book.deaf = True
        await self._book.write({account: [5, None] for account in ACCOUNTS})
        self._book.deaf = False

    async def until_current(self, within: float) -> None:
        for account in ACCOUNTS:
            page = self._book.page(account)
            assert_shows(await self._viewer.until_at(account, page.revision, within), page)
        await self._viewer.until(lambda: words(self._viewer)[-1] == "live", within)


@pytest.mark.parametrize("others_too", [False, True])
async def test_a_connection_that_delivers_nothing(
    start_gateway: StartGateway, book: Book, redis_url: str, others_too: bool
) -> None:
    """F17. It is open and takes all it is given; so may be those that are made instead, for a while."""
    async with hole(redis_url) as (wire, url):
        gateway = await start_gateway(
            redis=url, audit_interval_seconds=RARE, redis_probe_interval_seconds=0.5
        )
        async with Viewer(gateway.ws) as viewer:
            watch = Watch(gateway, book, viewer)
            await watch.begin()
            made = wire.connections
            wire.deaf = others_too
            wire.swallow()
            await watch.move_unheard()
            await viewer.until(lambda: words(viewer)[-1] == "stalled")
            assert viewer.of_type("status")[-1]["reason"] == "live updates are away"
            assert (await watch.grown())["deaf"] == 1
            wire.deaf = False
            await watch.until_current(within=15)
            assert wire.connections > made
            grown = await watch.grown()
            assert (grown["found"], grown["repaired"]) == (len(ACCOUNTS), len(ACCOUNTS))
            await book.write({account: [6, None] for account in ACCOUNTS})
            await watch.until_current(within=5)
            assert (await watch.grown())["repaired"] == len(ACCOUNTS)  # that came by itself


async def test_a_redis_that_stands_still(
    start_gateway: StartGateway, book: Book, own_redis: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F19. The kernel takes connections for it, so each try to have another takes its whole time."""
    monkeypatch.setattr("livebalance.gateway.redis.node_subscriber.CONNECT_WITHIN", 0.5)
    gateway = await start_gateway(audit_interval_seconds=RARE, redis_probe_interval_seconds=0.5)
    child = own_redis.own["redis"].child
    async with Viewer(gateway.ws) as viewer:
        watch = Watch(gateway, book, viewer)
        await watch.begin()
        child.send(signal.SIGSTOP)
        try:
            await watch.move_unheard()
            await viewer.until(lambda: words(viewer)[-1] == "stalled")
            async with asyncio.timeout(10):
                while (await watch.grown())["timeout"] < 3:
                    pass
            await watch.move_unheard()
        finally:
            child.send(signal.SIGCONT)
        await watch.until_current(within=5)
        grown = await watch.grown()
        assert grown["deaf"] == 1
        assert (grown["found"], grown["repaired"]) == (len(ACCOUNTS), len(ACCOUNTS))
        await book.write({account: [6, None] for account in ACCOUNTS})
        await watch.until_current(within=5)


async def test_a_buffer_that_overflows(
    start_gateway: StartGateway, book: Book, redis_url: str, channel_prefix: str
) -> None:
    """F20. Redis drops who listens, and with it all that waited in the buffer, of every account."""
    gateway = await start_gateway(audit_interval_seconds=RARE, redis_probe_interval_seconds=RARE)
    async with Viewer(gateway.ws) as viewer, redis.asyncio.from_url(redis_url) as operator:
        watch = Watch(gateway, book, viewer)
        await watch.begin()
        await operator.config_set("client-output-buffer-limit", "pubsub 32768 0 0")
        deltas = [
            (redis_account(channel_prefix, AccountId(account)), await book.commit(account, [cents, None]))
            for cents in range(1, 11)
            for account in ACCOUNTS
        ]
        async with operator.pipeline(transaction=True) as at_once:
            for channel, delta in deltas:
                at_once.publish(channel, encode_delta(delta))
            await at_once.execute()
        assert (await operator.info("stats"))["client_output_buffer_limit_disconnections"] == 1
        await watch.until_current(within=10)
        grown = await watch.grown()
        assert (grown["closed"], grown["deaf"]) == (1, 0)
        assert 0 < grown["found"] <= len(ACCOUNTS)
        assert grown["repaired"] == grown["found"]
        await book.write({account: [6, None] for account in ACCOUNTS})
        await watch.until_current(within=5)
