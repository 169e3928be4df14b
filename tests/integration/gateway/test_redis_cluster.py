"""A Redis cluster: slots move and nodes die during transfers. Clients are correct again within seconds.

If slots move, scheduled audits are too rare to repair anything. The audit after new subscriptions does.
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
from tests.integration.gateway.test_silent_redis import states
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers.redis_cluster import ClusterNode, RedisCluster

AUDIT_SECONDS = 3600.0
ACCOUNTS = [f"a-{number}" for number in range(24)]


@pytest.fixture
def redis_url(redis_cluster: RedisCluster) -> str:
    return redis_cluster.url


@pytest.fixture
async def projector(projector: FakeProjector) -> FakeProjector:
    """The lanes are complete as of now, so that the pipeline is live without another audit."""
    projector.as_of = Millis(time.time_ns() // 1_000_000)
    await projector.open(*ACCOUNTS)
    return projector


class SlotMap:
    """The slot and the owner of each account's channel."""

    def __init__(self, cluster: RedisCluster, prefix: str) -> None:
        self._cluster, self._prefix = cluster, prefix

    def slot(self, account: str) -> int:
        return slot_of(redis_account_channel(self._prefix, AccountId(account)).encode())

    def owner(self, account: str) -> ClusterNode:
        return self._cluster.owner(self.slot(account))


@pytest.fixture
def slot_map(redis_cluster: RedisCluster, channel_prefix: str) -> SlotMap:
    return SlotMap(redis_cluster, channel_prefix)


async def until_live(client: WebSocketClient) -> None:
    await client.until(lambda: states(client)[-1:] == ["live"])


async def test_accounts_at_every_node_get_deltas(
    start_gateway: StartGateway, projector: FakeProjector, slot_map: SlotMap
) -> None:
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS)
    assert len({slot_map.owner(account).port for account in ACCOUNTS}) == 3
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
        await client.until(lambda: states(client)[-1] == "catching_up")
        await client.request("unsubscribe", channels=[f"account:{account}" for account in ACCOUNTS])
        await client.subscribe(ACCOUNTS[0])
        await client.until_at(ACCOUNTS[0], projector.account(ACCOUNTS[0]).revision)


@pytest.mark.parametrize("by_hand", [False, True])
async def test_slots_that_move_during_transfers_lose_nothing(
    start_gateway: StartGateway,
    projector: FakeProjector,
    redis_cluster: RedisCluster,
    slot_map: SlotMap,
    by_hand: bool,
) -> None:
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS)
    async with WebSocketClient(gateway.ws) as client, CheckedClient([gateway.ws], ACCOUNTS) as checked:
        await checked.until_current(projector)
        await until_live(client)
        async with transferring(projector, ACCOUNTS):
            for account in ACCOUNTS[:6]:
                await asyncio.to_thread(redis_cluster.move, slot_map.slot(account), by_hand=by_hand)
        await checked.until_current(projector)
        checked.assert_exact(projector)
        await until_live(client)


async def test_moved_slot_is_compared_with_postgres(
    start_gateway: StartGateway, projector: FakeProjector, redis_cluster: RedisCluster, slot_map: SlotMap
) -> None:
    """A message before the new subscription is lost, and no later message shows the gap."""
    gateway = await start_gateway(audit_interval_seconds=AUDIT_SECONDS)
    account = ACCOUNTS[0]
    async with CheckedClient([gateway.ws], ACCOUNTS) as checked:
        await checked.until_current(projector)
        projector.silent = True
        await projector.transfer(account, 5)
        await asyncio.to_thread(redis_cluster.move, slot_map.slot(account))
        await checked.until_current(projector)
        projector.silent = False
        await projector.transfer(account, 6)
        await checked.until_current(projector)
        checked.assert_exact(projector)


@pytest.mark.parametrize("stop_signal", [signal.SIGKILL, signal.SIGSTOP])
async def test_lost_node_is_replaced_by_its_replica(
    start_gateway: StartGateway,
    projector: FakeProjector,
    redis_cluster: RedisCluster,
    slot_map: SlotMap,
    stop_signal: signal.Signals,
) -> None:
    """The replica takes over. The gateway must subscribe the lost node's channels there."""
    gateway = await start_gateway(audit_interval_seconds=2.0, redis_probe_interval_seconds=0.5)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(WebSocketClient(gateway.ws))
        checked = await stack.enter_async_context(CheckedClient([gateway.ws], ACCOUNTS))
        await checked.until_current(projector)
        await until_live(client)
        lost = slot_map.owner(ACCOUNTS[0])
        theirs = [account for account in ACCOUNTS if slot_map.owner(account) is lost]
        stack.callback(lost.child.send, signal.SIGCONT)
        lost.child.send(stop_signal)
        await client.until(lambda: states(client)[-1] == "stalled")
        assert client.of_type("status")[-1]["reason"] == "live updates are unavailable"
        projector.silent = True  # nothing published is delivered until a node has the slots
        await projector.write({account: [5, None] for account in theirs})
        projector.silent = False
        others = {account: [7, None] for account in ACCOUNTS if account not in theirs}
        await projector.write(others)
        await client.subscribe(*others)
        for account in others:  # their nodes still deliver
            await client.until_at(account, 3)
        await asyncio.to_thread(redis_cluster.replace, lost)
        await until_live(client)
        await checked.until_current(projector)
        async with asyncio.timeout(30):
            while not await all_are_live(gateway, projector, checked):
                pass  # the publisher must find the new owner, too
        checked.assert_exact(projector)


async def all_are_live(gateway: RunningGateway, projector: FakeProjector, checked: CheckedClient) -> bool:
    """Writes a transfer to every account, and returns whether each came as a delta."""
    before = await gateway.counter("received_deltas")
    await projector.write({account: [6, None] for account in ACCOUNTS})
    await checked.until_current(projector)
    return await gateway.counter("received_deltas") - before == len(ACCOUNTS)
