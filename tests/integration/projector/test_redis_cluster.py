"""A Redis cluster: each message goes to the owner of its slot, and no node holds up what is for another."""

import asyncio
import dataclasses
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from livebalance.projector.redis.publisher import Publisher
from livebalance.runtime.redis.cluster_slots import slot_of
from livebalance.wire.delta import redis_account_channel
from livebalance.wire.identity import AccountId
from tests.integration.projector.world import World, history, reached
from tests.servers.redis_cluster import ClusterNode, RedisCluster

Message = tuple[str, bytes]


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"livebalance_projector_{name}_total") or 0


@asynccontextmanager
async def hearing(node: ClusterNode, *channels: str) -> AsyncIterator[list[Message]]:
    """What is published there, from the moment the block begins."""
    heard: list[Message] = []
    async with Redis(port=node.port, password="of-this-test") as redis, redis.pubsub() as pubsub:
        for channel in channels:
            await pubsub.ssubscribe(channel)
            assert await pubsub.get_message(timeout=5)

        async def listen() -> None:
            async for message in pubsub.listen():
                if message["type"] == "smessage":
                    heard.append((message["channel"].decode(), message["data"]))

        task = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture
async def doorbell(redis_cluster: RedisCluster) -> AsyncIterator[Publisher]:
    """One that has found every node."""
    doorbell = Publisher(redis_cluster.url)
    doorbell.start()
    await until_taken(doorbell)
    yield doorbell
    await doorbell.close()


async def until_taken(doorbell: Publisher, within: float = 15.0) -> None:
    """Until messages for all slots are taken."""
    everywhere = [(f"everywhere-{number}", b"") for number in range(200)]
    async with asyncio.timeout(within):
        while True:
            before = counted("published_messages")
            await doorbell.publish(everywhere)
            if counted("published_messages") - before == len(everywhere):
                return
            await asyncio.sleep(0.1)


def by_owner(cluster: RedisCluster) -> dict[ClusterNode, str]:
    """A channel of each master."""
    names = (f"channel-{number}" for number in range(1000))
    found: dict[ClusterNode, str] = {}
    while len(found) < 3:
        name = next(names)
        found.setdefault(cluster.owner(slot_of(name.encode())), name)
    return found


async def test_a_projector_rings_where_each_account_belongs(
    world: World, redis_cluster: RedisCluster
) -> None:
    here = dataclasses.replace(world, redis=redis_cluster.url)
    channels = {
        name: redis_account_channel(here.prefix, AccountId(name)) for name in ("alice", "bob", "carol")
    }
    owners = {name: redis_cluster.owner(slot_of(channel.encode())) for name, channel in channels.items()}
    fed = [record for name in channels for record in history(name, range(1, 4))]
    taken = counted("published_messages")
    async with here.running():
        await reached(lambda: counted("published_messages") > taken)
        async with (
            hearing(owners["alice"], channels["alice"]) as alice,
            hearing(owners["bob"], channels["bob"]) as bob,
            hearing(owners["carol"], channels["carol"]) as carol,
        ):
            await here.write(fed)
            await here.applied(fed)
            await reached(lambda: bool(alice and bob and carol))
    await here.is_exact(fed)


async def test_a_message_follows_its_slot(doorbell: Publisher, redis_cluster: RedisCluster) -> None:
    """It is rung once more, where the slot is now."""
    for by_hand in (False, True):
        [channel, *_] = by_owner(redis_cluster).values()
        target = await asyncio.to_thread(redis_cluster.move, slot_of(channel.encode()), by_hand=by_hand)
        async with hearing(target, channel) as heard:
            lost = counted("unpublished_messages")
            await doorbell.publish([(channel, b"1"), ("other", b"2"), (channel, b"3")])
            await reached(lambda: len(heard) == 2, seconds=5)
            assert heard == [(channel, b"1"), (channel, b"3")]
            assert counted("unpublished_messages") == lost


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_node_that_is_away_holds_nobody_up(
    doorbell: Publisher, redis_cluster: RedisCluster, how: signal.Signals
) -> None:
    channels = by_owner(redis_cluster)
    [away, here, _] = channels
    async with hearing(here, channels[here]) as heard:
        away.child.send(how)
        try:
            lost, took = counted("unpublished_messages"), []
            for number in range(10):
                began = time.monotonic()
                await doorbell.publish([(channels[away], b"lost"), (channels[here], b"%d" % number)])
                took.append(time.monotonic() - began)
                await reached(partial(came, heard, number + 1), seconds=1)
            assert max(took) < 1.2
            assert sorted(took)[-2] < 0.5  # only one has waited
            assert counted("unpublished_messages") - lost == 10
            await until_taken(doorbell)  # its replica took over
        finally:
            away.child.send(signal.SIGCONT)
    owner = redis_cluster.owner(slot_of(channels[away].encode()))
    assert owner is not away
    async with hearing(owner, channels[away]) as heard:
        await doorbell.publish([(channels[away], b"again")])
        await reached(lambda: heard == [(channels[away], b"again")], seconds=5)


def came(heard: list[Message], count: int) -> bool:
    return len(heard) >= count


async def test_a_cluster_that_comes_later(redis_cluster: RedisCluster) -> None:
    """Or cannot be reached under the first of its addresses."""
    doorbell = Publisher(redis_cluster.url.replace("@", "@127.0.0.1:1,"))
    await doorbell.publish([("channel", b"lost")])
    doorbell.start()
    try:
        await until_taken(doorbell)
    finally:
        await doorbell.close()
