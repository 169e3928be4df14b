"""Topic ids and partition counts, as a real broker reports them."""

import asyncio
import contextlib

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import UnknownTopicOrPartitionError

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.topic_identity import TopicIdentity, read_topic_identities
from livebalance.stack.servers.topics import Topics
from tests.servers.topics import delete_topics

_PROPAGATION_SECONDS = 60.0


async def read_identity(kafka: str, topic: str) -> TopicIdentity:
    return (await read_topic_identities(Broker(kafka), [topic]))[topic]


async def changed_identity(kafka: str, topic: str, before: TopicIdentity) -> TopicIdentity:
    """Waits until the broker has learned of the change from its controller."""
    async with asyncio.timeout(_PROPAGATION_SECONDS):
        while True:
            with contextlib.suppress(UnknownTopicOrPartitionError):
                if (identity := await read_identity(kafka, topic)) != before:
                    return identity


async def test_topic_that_exists_has_an_id_and_its_partitions(kafka: str, topics: Topics) -> None:
    names = [topics.transfers, topics.balances]
    first = await read_topic_identities(Broker(kafka), names)
    assert list(first) == names
    assert {identity.partitions for identity in first.values()} == {topics.partitions}
    assert None not in {identity.id for identity in first.values()}
    assert len({identity.id for identity in first.values()}) == 2
    assert await read_topic_identities(Broker(kafka), names) == first


async def test_topic_created_again_has_another_id(kafka: str, topics: Topics) -> None:
    first = await read_identity(kafka, topics.transfers)
    await delete_topics(topics, Broker(kafka))
    await topics.create(Broker(kafka))
    second = await changed_identity(kafka, topics.transfers, first)
    assert second.partitions == first.partitions
    assert second.id != first.id


async def test_topic_with_more_partitions_keeps_its_id(kafka: str, topics: Topics) -> None:
    first = await read_identity(kafka, topics.transfers)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_partitions({topics.transfers: NewPartitions(topics.partitions + 2)})
    finally:
        await admin.close()
    assert await changed_identity(kafka, topics.transfers, first) == (first.id, first.partitions + 2)


async def test_topic_that_does_not_exist_raises_and_is_not_created(kafka: str) -> None:
    for _ in range(2):
        with pytest.raises(UnknownTopicOrPartitionError):
            await read_topic_identities(Broker(kafka), ["no-such-topic"])
