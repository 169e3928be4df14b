"""A Redis cluster: slots move and nodes die while money moves, and everyone has the truth within seconds.

Where slots move, audits are too rare to heal anything: what heals is the one that follows new subscriptions.
"""

import asyncio
import signal
import time
from contextlib import AsyncExitStack

import pytest

from livebalance.runtime.redis.cluster_slots import slot_of
from livebalance.wire.delta import redis_account_channel
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis
from tests.integration.gateway.book import Book, paying
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.test_deaf_redis import words
from tests.integration.gateway.viewer import Viewer
from tests.integration.gateway.watcher import Watcher
from tests.servers.redis_cluster import ClusterNode, RedisCluster

RARE = 60.0  # seconds
ACCOUNTS = [f"a-{number}" for number in range(24)]


@pytest.fixture
def redis_url(redis_cluster: RedisCluster) -> str:
    return redis_cluster.url


@pytest.fixture
async def book(book: Book) -> Book:
    """What is there is of now, so that the pipeline is live without another audit."""
    book.as_of = Millis(time.time_ns() // 1_000_000)
    await book.open(*ACCOUNTS)
    return book


class Map:
    """Where each account's channel is."""

    def __init__(self, cluster: RedisCluster, prefix: str) -> None:
        self._cluster, self._prefix = cluster, prefix

    def slot(self, account: str) -> int:
        return slot_of(redis_account_channel(self._prefix, AccountId(account)).encode())

    def owner(self, account: str) -> ClusterNode:
        return self._cluster.owner(self.slot(account))


@pytest.fixture
def map_(redis_cluster: RedisCluster, channel_prefix: str) -> Map:
    return Map(redis_cluster, channel_prefix)


async def until_live(viewer: Viewer, within: float = 15.0) -> None:
    await viewer.until(lambda: words(viewer)[-1:] == ["live"], within)


async def test_accounts_of_every_node_are_live(gateway: Running, book: Book, map_: Map) -> None:
    assert len({map_.owner(account).port for account in ACCOUNTS}) == 3
    async with Viewer(gateway.ws) as viewer, Watcher([gateway.ws], ACCOUNTS) as watcher:
        await viewer.follow(*ACCOUNTS)
        await watcher.until_current(book)
        await until_live(viewer)
        before = (
            await gateway.counted("gap_repairs", reason="audit"),
            await gateway.counted("received_deltas"),
        )
        for cents in range(1, 4):
            await book.write({account: [cents, None] for account in ACCOUNTS})
        await watcher.until_current(book)
        watcher.assert_exact(book)
        after = await gateway.counted("gap_repairs", reason="audit"), await gateway.counted("received_deltas")
        assert (after[0] - before[0], after[1] - before[1]) == (0, 3 * len(ACCOUNTS))
        await book.progress(1, behind=True)
        await viewer.until(lambda: words(viewer)[-1] == "catching_up")
        await viewer.ask("unsubscribe", channels=[f"account:{account}" for account in ACCOUNTS])
        await viewer.follow(ACCOUNTS[0])
        await viewer.until_at(ACCOUNTS[0], book.page(ACCOUNTS[0]).revision)


@pytest.mark.parametrize("by_hand", [False, True])
async def test_slots_move_while_money_moves(
    start_gateway: StartGateway, book: Book, redis_cluster: RedisCluster, map_: Map, by_hand: bool
) -> None:
    gateway = await start_gateway(audit_interval_seconds=RARE)
    async with Viewer(gateway.ws) as viewer, Watcher([gateway.ws], ACCOUNTS) as watcher:
        await watcher.until_current(book)
        await until_live(viewer)
        async with paying(book, ACCOUNTS):
            for account in ACCOUNTS[:6]:
                await asyncio.to_thread(redis_cluster.move, map_.slot(account), by_hand=by_hand)
        await watcher.until_current(book, within=5)
        watcher.assert_exact(book)
        assert words(viewer)[-1] == "live"


async def test_a_slot_that_moved_is_compared_with_postgres(
    start_gateway: StartGateway, book: Book, redis_cluster: RedisCluster, map_: Map
) -> None:
    """What was published before the channel was heard again is lost, and nothing follows that would tell."""
    gateway = await start_gateway(audit_interval_seconds=RARE)
    account = ACCOUNTS[0]
    async with Watcher([gateway.ws], ACCOUNTS) as watcher:
        await watcher.until_current(book)
        book.deaf = True
        await book.move(account, 5)
        await asyncio.to_thread(redis_cluster.move, map_.slot(account))
        await watcher.until_current(book, within=5)
        book.deaf = False
        await book.move(account, 6)
        await watcher.until_current(book, within=5)
        watcher.assert_exact(book)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_node_is_lost(
    start_gateway: StartGateway, book: Book, map_: Map, how: signal.Signals
) -> None:
    """Its replica takes over: another server, at which its channels have to be asked for."""
    gateway = await start_gateway(audit_interval_seconds=2.0, redis_probe_interval_seconds=0.5)
    async with AsyncExitStack() as stack:
        viewer = await stack.enter_async_context(Viewer(gateway.ws))
        watcher = await stack.enter_async_context(Watcher([gateway.ws], ACCOUNTS))
        await watcher.until_current(book)
        await until_live(viewer)
        lost = map_.owner(ACCOUNTS[0])
        theirs = [account for account in ACCOUNTS if map_.owner(account) is lost]
        stack.callback(lost.child.send, signal.SIGCONT)
        lost.child.send(how)
        await viewer.until(lambda: words(viewer)[-1] == "stalled")
        assert viewer.of_type("status")[-1]["reason"] == "live updates are away"
        book.deaf = True  # as long as nobody has its slots, what is rung is lost
        await book.write({account: [5, None] for account in theirs})
        book.deaf = False
        others = {account: [7, None] for account in ACCOUNTS if account not in theirs}
        await book.write(others)
        await viewer.follow(*others)
        for account in others:  # they are as live as ever
            await viewer.until_at(account, 3, within=2)
        await until_live(viewer)
        await watcher.until_current(book, within=5)
        assert map_.owner(ACCOUNTS[0]) is not lost
        async with asyncio.timeout(15):
            while not await all_are_live(gateway, book, watcher):
                pass  # who publishes has to find out as well
        watcher.assert_exact(book)


async def all_are_live(gateway: Running, book: Book, watcher: Watcher) -> bool:
    """Whether each heard of a change by itself."""
    before = await gateway.counted("received_deltas")
    await book.write({account: [6, None] for account in ACCOUNTS})
    await watcher.until_current(book, within=5)
    return await gateway.counted("received_deltas") - before == len(ACCOUNTS)
