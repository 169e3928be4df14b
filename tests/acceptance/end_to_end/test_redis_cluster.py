"""The end-to-end check on a Redis cluster: clients miss nothing while slots move and a node dies."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from random import Random

import httpx
import pytest
import pytest_asyncio

from livebalance.runtime.redis.cluster_slots import slot_of
from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from livebalance.wire.delta import redis_account_channel
from tests.acceptance.end_to_end.conftest import ACCOUNTS, QUICK
from tests.acceptance.end_to_end.end_to_end_check import POLL, EndToEndCheck
from tests.servers.redis_cluster import RedisCluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

RATE = 150  # transfers per second


@pytest.fixture(scope="module")
def redis_cluster(paths: StatePaths) -> Iterator[RedisCluster]:
    with RedisCluster(StatePaths(paths.home, paths.state / "redis-cluster")) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def check(paths: StatePaths, redis_cluster: RedisCluster) -> AsyncIterator[EndToEndCheck]:
    environment = {kind: {**QUICK[kind], "LIVEBALANCE_REDIS": redis_cluster.url} for kind in QUICK}
    plan = ClusterPlan(feeds=0, page=False, port=free_port(), durable=False, environment=environment)
    async with Cluster(StatePaths(paths.home, paths.state / "on-a-redis-cluster"), plan) as cluster:
        check = EndToEndCheck(cluster, ACCOUNTS)
        async with check.running_clients():
            yield check


def channel_slots(check: EndToEndCheck) -> list[int]:
    """Returns the slot of each account's channel."""
    accounts = check.clients[0].accounts
    return [slot_of(redis_account_channel("livebalance:", account).encode()) for account in accounts]


async def received_deltas(check: EndToEndCheck) -> float:
    """Returns how many deltas the first gateway received from Redis. Audits of Postgres do not count."""
    async with httpx.AsyncClient(timeout=30) as client:
        metrics = (await client.get(f"{check.cluster.services['gateway-1'].operations}/metrics")).text
    return float(metrics.partition("\nlivebalance_gateway_received_deltas_total ")[2].partition("\n")[0])


@pytest.mark.parametrize("by_hand", [False, True])
async def test_clients_after_slots_moved_miss_nothing(
    check: EndToEndCheck, redis_cluster: RedisCluster, by_hand: bool
) -> None:
    async with check.feeding(30 + by_hand, RATE):
        await check.wait_for_deltas(10, within=60)
        for slot in channel_slots(check):
            await asyncio.to_thread(redis_cluster.move, slot, by_hand=by_hand)
        before = await received_deltas(check)
        await check.wait_for_deltas(10, within=60)
        # Audits may have brought these deltas, while a gateway still looked for the new owners of the slots.
        async with asyncio.timeout(60):
            while await received_deltas(check) <= before:  # noqa: ASYNC110 - another process
                await asyncio.sleep(POLL)
    await check.compare(await check.wait_until_complete(within=60))


async def test_clients_after_a_node_died_miss_nothing(
    check: EndToEndCheck, redis_cluster: RedisCluster
) -> None:
    slot = Random(32).choice(channel_slots(check))
    dead = redis_cluster.owner(slot)
    async with check.feeding(32, RATE):
        await check.wait_for_deltas(10, within=60)
        dead.child.kill()
        await check.wait_for_deltas(10, within=60)
        await asyncio.to_thread(redis_cluster.replace, dead)
        await check.wait_for_deltas(10, within=60)
    await check.compare(await check.wait_until_complete(within=60))
