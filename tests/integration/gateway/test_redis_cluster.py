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
from tests.integration.gateway.checked_client import CheckedClient
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector, transferring
from tests.integration.gateway.test_silent_redis import words
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers.redis_cluster import ClusterNode, RedisCluster

RARE = 60.0  # seconds
ACCOUNTS = [f"a-{number}" for number in range(24)]


@pytest.fixture
def redis_url(redis_cluster: RedisCluster) -> str:
    return redis_cluster.url


@pytest.fixture
async def projector(projector: FakeProjector) -> FakeProjector:
    """What is there is of now, so that the pipeline is live without another audit."""
    projector.as_of = Millis(time.time_ns() // 1_000_000)
    await projector.open(*ACCOUNTS)
    return projector


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


async def until_live(client: WebSocketClient, within: float = 15.0) -> None:
    await client.until(lambda: words(client)[-1:] == ["live"], within)


async def test_accounts_of_every_node_are_live(
    gateway: RunningGateway, projector: FakeProjector, map_: Map
) -> None:
    assert len({map_.owner(account).port for account in ACCOUNTS}) == 3
    async with WebSocketClient(gateway.ws) as client, CheckedClient([gateway.ws], ACCOUNTS) as checked:
        await client.subscribe(*ACCOUNTS)
        await checked.until_current(projector)
        await until_live(client)
        before = (
            await gateway.counter("gap_repairs", reason="audit"),
            await gateway.counter("received_deltas"),
        )
        for cents in range(1, 4):
            await projector.write({account: [cents, None] for account in ACCOUNTS})
        await checked.until_current(projector)
        checked.assert_exact(projector)
        after = await gateway.counter("gap_repairs", reason="audit"), await gateway.counter("received_deltas")
        assert (after[0] - before[0], after[1] - before[1]) == (0, 3 * len(ACCOUNTS))
        await projector.publish_progress(1, behind=True)
        await client.until(lambda: words(client)[-1] == "catching_up")
        await client.request("unsubscribe", channels=[f"account:{account}" for account in ACCOUNTS])
        await client.subscribe(ACCOUNTS[0])
        await client.until_at(ACCOUNTS[0], projector.account(ACCOUNTS[0]).revision)


@pytest.mark.parametrize("by_hand", [False, True])
async def test_slots_move_while_money_moves(
    start_gateway: StartGateway,
    projector: FakeProjector,
    redis_cluster: RedisCluster,
    map_: Map,
    by_hand: bool,
) -> None:
    gateway = await start_gateway(audit_interval_seconds=RARE)
    async with WebSocketClient(gateway.ws) as client, CheckedClient([gateway.ws], ACCOUNTS) as checked:
        await checked.until_current(projector)
        await until_live(client)
        async with transferring(projector, ACCOUNTS):
            for account in ACCOUNTS[:6]:
                await asyncio.to_thread(redis_cluster.move, map_.slot(account), by_hand=by_hand)
        await checked.until_current(projector, within=5)
        checked.assert_exact(projector)
        assert words(client)[-1] == "live"


async def test_a_slot_that_moved_is_compared_with_postgres(
    start_gateway: StartGateway, projector: FakeProjector, redis_cluster: RedisCluster, map_: Map
) -> None:
    """What was published before the channel was heard again is lost, and nothing follows that would tell."""
    gateway = await start_gateway(audit_interval_seconds=RARE)
    account = ACCOUNTS[0]
    async with CheckedClient([gateway.ws], ACCOUNTS) as checked:
        await checked.until_current(projector)
        projector.silent = True
        await projector.transfer(account, 5)
        await asyncio.to_thread(redis_cluster.move, map_.slot(account))
        await checked.until_current(projector, within=5)
        projector.silent = False
        await projector.transfer(account, 6)
        await checked.until_current(projector, within=5)
        checked.assert_exact(projector)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_node_is_lost(
    start_gateway: StartGateway, projector: FakeProjector, map_: Map, how: signal.Signals
) -> None:
    """Its replica takes over: another server, at which its channels have to be asked for."""
    gateway = await start_gateway(audit_interval_seconds=2.0, redis_probe_interval_seconds=0.5)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(WebSocketClient(gateway.ws))
        checked = await stack.enter_async_context(CheckedClient([gateway.ws], ACCOUNTS))
        await checked.until_current(projector)
        await until_live(client)
        lost = map_.owner(ACCOUNTS[0])
        theirs = [account for account in ACCOUNTS if map_.owner(account) is lost]
        stack.callback(lost.child.send, signal.SIGCONT)
        lost.child.send(how)
        await client.until(lambda: words(client)[-1] == "stalled")
        assert client.of_type("status")[-1]["reason"] == "live updates are away"
        projector.silent = True  # as long as nobody has its slots, what is rung is lost
        await projector.write({account: [5, None] for account in theirs})
        projector.silent = False
        others = {account: [7, None] for account in ACCOUNTS if account not in theirs}
        await projector.write(others)
        await client.subscribe(*others)
        for account in others:  # they are as live as ever
            await client.until_at(account, 3, within=2)
        await until_live(client)
        await checked.until_current(projector, within=5)
        assert map_.owner(ACCOUNTS[0]) is not lost
        async with asyncio.timeout(15):
            while not await all_are_live(gateway, projector, checked):
                pass  # who publishes has to find out as well
        checked.assert_exact(projector)


async def all_are_live(gateway: RunningGateway, projector: FakeProjector, checked: CheckedClient) -> bool:
    """Whether each heard of a change by itself."""
    before = await gateway.counter("received_deltas")
    await projector.write({account: [6, None] for account in ACCOUNTS})
    await checked.until_current(projector, within=5)
    return await gateway.counter("received_deltas") - before == len(ACCOUNTS)
