"""Reads ranges of a partition, with committed, aborted and open transactional."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.producer import create_producer, stop_producer
from livebalance.runtime.kafka.reader import read_range
from livebalance.stack.servers.topics import Topics
from tests.integration.recorder.topic_records import plain_producer


@pytest.fixture
async def transactional(kafka: str, topics: Topics) -> AsyncIterator[AIOKafkaProducer]:
    producer = create_producer(Broker(kafka), "test", f"test-{topics.transfers}")
    await producer.start()
    yield producer
    await stop_producer(producer)


@pytest.fixture
def partition(topics: Topics) -> TopicPartition:
    return TopicPartition(topics.transfers, 0)


async def send(producer: AIOKafkaProducer, partition: TopicPartition, *values: bytes) -> None:
    for value in values:
        await (await producer.send(partition.topic, value, b"key", partition.partition))


async def read(kafka: str, partition: TopicPartition, start: int = 0, end: int | None = None) -> list[bytes]:
    values: list[bytes] = []
    await read_range(
        Broker(kafka), partition, lambda record: values.append(record.value or b""), start, end=end
    )
    return values


async def test_read_of_an_empty_partition_returns_nothing(kafka: str, partition: TopicPartition) -> None:
    assert await read(kafka, partition) == []


async def test_read_ends_before_the_end_offset(kafka: str, partition: TopicPartition) -> None:
    async with plain_producer(kafka) as plain:
        await send(plain, partition, b"0", b"1", b"2", b"3", b"4")
    assert await read(kafka, partition) == [b"0", b"1", b"2", b"3", b"4"]
    assert await read(kafka, partition, 1, 3) == [b"1", b"2"]
    assert await read(kafka, partition, 3, 3) == []


async def test_read_skips_aborted_records(
    kafka: str, partition: TopicPartition, transactional: AIOKafkaProducer
) -> None:
    for value, end in [
        (b"kept", transactional.commit_transaction),
        (b"aborted", transactional.abort_transaction),
    ]:
        await transactional.begin_transaction()
        await send(transactional, partition, value)
        await end()
    assert await read(kafka, partition) == [b"kept"]


async def test_read_waits_for_an_open_transaction(
    kafka: str, partition: TopicPartition, transactional: AIOKafkaProducer
) -> None:
    """The last stable offset is before all records, so a read up to it would miss committed records."""
    await transactional.begin_transaction()
    await send(transactional, partition, b"opened")
    async with plain_producer(kafka) as plain:
        await send(plain, partition, b"behind")
    reading = asyncio.create_task(read(kafka, partition))
    done, _ = await asyncio.wait([reading], timeout=1)
    assert not done
    await transactional.commit_transaction()
    assert await reading == [b"opened", b"behind"]


async def test_read_of_a_transaction_that_stays_open_times_out(
    kafka: str, partition: TopicPartition, transactional: AIOKafkaProducer
) -> None:
    await transactional.begin_transaction()
    await send(transactional, partition, b"opened")
    with pytest.raises(TimeoutError):
        await read_range(Broker(kafka), partition, lambda record: None, timeout_seconds=2)
