"""Redis cluster: each message goes to the owner of its slot, and no node delays messages for another."""

import asyncio
import dataclasses
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from livebalance.projector.redis import connection
from livebalance.projector.redis import publisher as publisher_module
from livebalance.projector.redis.publisher import Publisher
from livebalance.runtime.redis.cluster_slots import slot_of
from livebalance.wire.delta import redis_account_channel
from livebalance.wire.identity import AccountId
from tests.integration.projector.pipeline import Pipeline, history, wait_until
from tests.servers.redis_cluster import ClusterNode, RedisCluster

Message = tuple[str, bytes]


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"livebalance_projector_{name}_total") or 0


@asynccontextmanager
async def listening(node: ClusterNode, *channels: str) -> AsyncIterator[list[Message]]:
    """Yields the messages that `node` publishes, from the moment the block begins."""
    received: list[Message] = []
    async with Redis(port=node.port, password="of-this-test") as redis, redis.pubsub() as pubsub:
        for channel in channels:
            await pubsub.ssubscribe(channel)
            assert await pubsub.get_message(timeout=30)

        async def listen() -> None:
            async for message in pubsub.listen():
                if message["type"] == "smessage":
                    received.append((message["channel"].decode(), message["data"]))

        task = asyncio.create_task(listen())
        try:
            yield received
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture
async def publisher(redis_cluster: RedisCluster) -> AsyncIterator[Publisher]:
    """A publisher that is connected to every node."""
    publisher = Publisher(redis_cluster.url)
    publisher.start()
    await wait_until_accepted(publisher)
    yield publisher
    await publisher.close()


async def wait_until_accepted(publisher: Publisher, seconds: float = 60.0) -> None:
    """Waits until messages for all nodes are accepted."""
    everywhere = [(f"everywhere-{number}", b"") for number in range(200)]
    async with asyncio.timeout(seconds):
        while True:
            before = counted("published_messages")
            await publisher.publish(everywhere)
            if counted("published_messages") - before == len(everywhere):
                return
            await asyncio.sleep(0.1)


def by_owner(cluster: RedisCluster) -> dict[ClusterNode, str]:
    """Returns a channel of each master."""
    names = (f"channel-{number}" for number in range(1000))
    channels: dict[ClusterNode, str] = {}
    while len(channels) < 3:
        name = next(names)
        channels.setdefault(cluster.owner(slot_of(name.encode())), name)
    return channels


async def test_projector_publishes_to_the_owner_of_each_channel(
    pipeline: Pipeline, redis_cluster: RedisCluster
) -> None:
    pipeline = dataclasses.replace(pipeline, redis=redis_cluster.url)
    channels = {
        name: redis_account_channel(pipeline.prefix, AccountId(name)) for name in ("alice", "bob", "carol")
    }
    owners = {name: redis_cluster.owner(slot_of(channel.encode())) for name, channel in channels.items()}
    records = [record for name in channels for record in history(name, range(1, 4))]
    taken = counted("published_messages")
    async with pipeline.running():
        await wait_until(lambda: counted("published_messages") > taken)
        async with (
            listening(owners["alice"], channels["alice"]) as alice,
            listening(owners["bob"], channels["bob"]) as bob,
            listening(owners["carol"], channels["carol"]) as carol,
        ):
            await pipeline.write(records)
            await pipeline.wait_until_applied(records)
            await wait_until(lambda: bool(alice and bob and carol))
    await pipeline.assert_exact(records)


async def test_message_answered_with_moved_is_sent_again(
    publisher: Publisher, redis_cluster: RedisCluster
) -> None:
    """The second attempt goes to the slot's new owner."""
    for by_hand in (False, True):
        [channel, *_] = by_owner(redis_cluster).values()
        target = await asyncio.to_thread(redis_cluster.move, slot_of(channel.encode()), by_hand=by_hand)
        async with listening(target, channel) as received:
            lost = counted("unpublished_messages")
            await publisher.publish([(channel, b"1"), ("other", b"2"), (channel, b"3")])
            await wait_until(lambda: len(received) == 2)
            assert received == [(channel, b"1"), (channel, b"3")]
            assert counted("unpublished_messages") == lost


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_unavailable_node_delays_no_other_node(
    publisher: Publisher,
    redis_cluster: RedisCluster,
    how: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only one publish waits for it, so that ten take less than ten times as long."""
    monkeypatch.setattr(publisher_module, "_PUBLISH_TIMEOUT_SECONDS", 5.0)
    monkeypatch.setattr(connection, "_CONNECT_TIMEOUT_SECONDS", 1.0)
    channels = by_owner(redis_cluster)
    [unavailable, available, _] = channels
    async with listening(available, channels[available]) as received:
        unavailable.child.send(how)
        try:
            lost = counted("unpublished_messages")
            async with asyncio.timeout(40):
                for number in range(10):
                    publishing = asyncio.create_task(
                        publisher.publish(
                            [(channels[unavailable], b"lost"), (channels[available], b"%d" % number)]
                        )
                    )
                    await wait_until(partial(has_received, received, number + 1))
                    await publishing
            assert counted("unpublished_messages") - lost == 10
            owner = await asyncio.to_thread(redis_cluster.replace, unavailable)
            await wait_until_accepted(publisher)
        finally:
            unavailable.child.send(signal.SIGCONT)
    async with listening(owner, channels[unavailable]) as received:
        await publisher.publish([(channels[unavailable], b"again")])
        await wait_until(lambda: received == [(channels[unavailable], b"again")])


def has_received(received: list[Message], count: int) -> bool:
    return len(received) >= count


async def test_publisher_skips_an_unreachable_cluster_address(redis_cluster: RedisCluster) -> None:
    """The first of the configured addresses cannot be reached."""
    publisher = Publisher(redis_cluster.url.replace("@", "@127.0.0.1:1,"))
    await publisher.publish([("channel", b"lost")])
    publisher.start()
    try:
        await wait_until_accepted(publisher)
    finally:
        await publisher.close()
