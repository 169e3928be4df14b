"""What a recorder reads between two of its transactions."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.producer import OutgoingRecord, create_producer, send_all, stop_producer
from livebalance.runtime.kafka.reader import PartitionReader
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka.raw_record import RawRecord
from tests.integration.recorder.topic_records import plain_producer


async def nothing(_: object) -> None:
    pass


@pytest.fixture
async def reader(kafka: str, topics: Topics) -> AsyncIterator[PartitionReader]:
    reader = PartitionReader(Broker(kafka), TopicPartition(topics.balances, 0), nothing, 30.0)
    await reader.start(0)
    yield reader
    await reader.stop()


@pytest.fixture
async def owner(kafka: str, topics: Topics) -> AsyncIterator[AIOKafkaProducer]:
    producer = create_producer(Broker(kafka), "owner", f"owner-of-{topics.balances}")
    await producer.start()
    yield producer
    await stop_producer(producer)


async def write_own(owner: AIOKafkaProducer, topics: Topics, *keys: bytes) -> list[int]:
    await owner.begin_transaction()
    offsets = await send_all(owner, [OutgoingRecord(topics.balances, key, b"own", 0) for key in keys])
    await owner.commit_transaction()
    return offsets


async def write_other(kafka: str, topics: Topics, key: bytes) -> None:
    async with plain_producer(kafka) as producer:
        await producer.send_and_wait(topics.balances, b"other", key, 0)


async def keys_read(reader: PartitionReader, own: list[int]) -> list[bytes | None]:
    records: list[RawRecord] = []
    await reader.read(records.append, own)
    return [record.key for record in records]


async def test_transactions_of_the_owner_alone_are_not_read(
    reader: PartitionReader, owner: AIOKafkaProducer, topics: Topics
) -> None:
    for keys in ([b"a"], [b"b", b"c", b"d"]):
        assert await keys_read(reader, await write_own(owner, topics, *keys)) == []


async def test_record_of_another_producer_before_after_or_inside_a_transaction_is_read(
    kafka: str, reader: PartitionReader, owner: AIOKafkaProducer, topics: Topics
) -> None:
    await write_other(kafka, topics, b"before")
    assert await keys_read(reader, await write_own(owner, topics, b"a")) == [b"before", b"a"]
    offsets = await write_own(owner, topics, b"b")
    await write_other(kafka, topics, b"after")
    assert await keys_read(reader, offsets) == [b"b", b"after"]
    await owner.begin_transaction()
    offsets = await send_all(owner, [OutgoingRecord(topics.balances, b"c", b"own", 0)])
    await write_other(kafka, topics, b"inside")
    await owner.commit_transaction()
    assert await keys_read(reader, offsets) == [b"c", b"inside"]
    assert await keys_read(reader, offsets) == []
