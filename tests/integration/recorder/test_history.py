"""Reading a stretch of a partition again."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.producer import producer, stop
from livebalance.runtime.kafka.reader import replay
from livebalance.stack.servers.topics import Topics
from tests.integration.recorder.topics import producing


@pytest.fixture
async def transactions(kafka: str, topics: Topics) -> AsyncIterator[AIOKafkaProducer]:
    made = producer(Broker(kafka), "test", f"test-{topics.transfers}")
    await made.start()
    yield made
    await stop(made)


@pytest.fixture
def at(topics: Topics) -> TopicPartition:
    return TopicPartition(topics.transfers, 0)


async def put(to: AIOKafkaProducer, at: TopicPartition, *values: bytes) -> None:
    for value in values:
        await (await to.send(at.topic, value, b"key", at.partition))


async def read(kafka: str, at: TopicPartition, start: int = 0, end: int | None = None) -> list[bytes]:
    found: list[bytes] = []
    await replay(Broker(kafka), at, lambda record: found.append(record.value), start, end=end)
    return found


async def test_of_an_empty_partition_nothing_is_read(kafka: str, at: TopicPartition) -> None:
    assert await read(kafka, at) == []


async def test_a_stretch_ends_before_its_end(kafka: str, at: TopicPartition) -> None:
    async with producing(kafka) as plain:
        await put(plain, at, b"0", b"1", b"2", b"3", b"4")
    assert await read(kafka, at) == [b"0", b"1", b"2", b"3", b"4"]
    assert await read(kafka, at, 1, 3) == [b"1", b"2"]
    assert await read(kafka, at, 3, 3) == []


async def test_what_was_aborted_is_not_read(
    kafka: str, at: TopicPartition, transactions: AIOKafkaProducer
) -> None:
    for value, end in [
        (b"kept", transactions.commit_transaction),
        (b"aborted", transactions.abort_transaction),
    ]:
        await transactions.begin_transaction()
        await put(transactions, at, value)
        await end()
    assert await read(kafka, at) == [b"kept"]


async def test_what_stands_behind_an_open_transaction_is_waited_for(
    kafka: str, at: TopicPartition, transactions: AIOKafkaProducer
) -> None:
    """Up to the last stable offset there is nothing: what others committed meanwhile would be left out."""
    await transactions.begin_transaction()
    await put(transactions, at, b"opened")
    async with producing(kafka) as plain:
        await put(plain, at, b"behind")
    reading = asyncio.create_task(read(kafka, at))
    done, _ = await asyncio.wait([reading], timeout=1)
    assert not done
    await transactions.commit_transaction()
    assert await reading == [b"opened", b"behind"]


async def test_it_does_not_wait_for_ever(
    kafka: str, at: TopicPartition, transactions: AIOKafkaProducer
) -> None:
    await transactions.begin_transaction()
    await put(transactions, at, b"opened")
    with pytest.raises(TimeoutError):
        await replay(Broker(kafka), at, lambda record: None, within=2)
