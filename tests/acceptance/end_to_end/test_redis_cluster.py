"""The same proof on a Redis cluster: slots move and nodes die under load, and nobody misses a cent."""

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
from tests.acceptance.end_to_end.end_to_end_check import Proof
from tests.servers.redis_cluster import RedisCluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

RATE = 150  # transfers a second


@pytest.fixture(scope="module")
def redis_cluster(paths: StatePaths) -> Iterator[RedisCluster]:
    with RedisCluster(StatePaths(paths.home, paths.state / "redis-cluster")) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proof(paths: StatePaths, redis_cluster: RedisCluster) -> AsyncIterator[Proof]:
    told = {kind: {**QUICK[kind], "LIVEBALANCE_REDIS": redis_cluster.url} for kind in QUICK}
    plan = ClusterPlan(feeds=0, page=False, port=free_port(), durable=False, environment=told)
    async with Cluster(StatePaths(paths.home, paths.state / "on-a-redis-cluster"), plan) as cluster:
        proof = Proof(cluster, ACCOUNTS)
        async with proof.watched():
            yield proof


def slots(proof: Proof) -> list[int]:
    """Of the channels of all accounts."""
    accounts = proof.listeners[0].accounts
    return [slot_of(redis_account_channel("livebalance:", account).encode()) for account in accounts]


async def heard(proof: Proof) -> float:
    """Deltas that a gateway had from Redis: without any, Postgres alone would have served."""
    async with httpx.AsyncClient() as client:
        shown = (await client.get(f"{proof.cluster.gateways[0]}/metrics")).text
    return float(shown.partition("\nlivebalance_gateway_deltas_total ")[2].partition("\n")[0])


@pytest.mark.parametrize("by_hand", [False, True])
async def test_slots_move(proof: Proof, redis_cluster: RedisCluster, by_hand: bool) -> None:
    async with proof.feeding(30 + by_hand, RATE):
        await proof.delivered(10, within=30)
        for slot in slots(proof):
            await asyncio.to_thread(redis_cluster.move, slot, by_hand=by_hand)
        before = await heard(proof)
        await proof.delivered(10, within=30)
        assert await heard(proof) > before
    await proof.compare(await proof.settled(within=15))


async def test_a_node_dies(proof: Proof, redis_cluster: RedisCluster) -> None:
    slot = Random(32).choice(slots(proof))
    dead = redis_cluster.owner(slot)
    async with proof.feeding(32, RATE):
        await proof.delivered(10, within=30)
        dead.child.kill()
        await proof.delivered(10, within=30)
        async with asyncio.timeout(15):
            while redis_cluster.owner(slot) is dead:  # noqa: ASYNC110 - a cluster tells nobody
                await asyncio.sleep(0.1)
        await proof.delivered(10, within=30)
    await proof.compare(await proof.settled(within=15))
