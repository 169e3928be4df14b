"""What stands on the two topics, and ways to put something there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import replay
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID, FileRegistry
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money

_WRITER = FileRegistry().writer


class Written(NamedTuple):
    """A balance record."""

    balance: Balance
    source_offset: int | None
    partition: int


async def records(kafka: str, topic: str, partitions: int) -> list[ConsumerRecord]:
    """All committed records up to the end that is there now; in order within a partition."""
    found: list[ConsumerRecord] = []
    for partition in range(partitions):
        await replay(Broker(kafka), TopicPartition(topic, partition), found.append)
    return found


async def balances(kafka: str, topics: Topics) -> list[Written]:
    return [written(record) for record in await records(kafka, topics.balances, topics.partitions)]


async def transfers(kafka: str, topics: Topics) -> list[Transfer]:
    found = await records(kafka, topics.transfers, topics.partitions)
    return [avro.decode_transfer(record.value, _WRITER) for record in found]


def written(record: ConsumerRecord) -> Written:
    source = dict(record.headers).get("source-offset")
    balance = avro.decode_balance(record.value, _WRITER)
    return Written(balance, None if source is None else int(source), record.partition)


@asynccontextmanager
async def producing(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    """Without transactions."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def transfer(id_: str, account: str, unscaled: int, scale: int = 2) -> Transfer:
    return Transfer(TransferId(id_), AccountId(account), Money(unscaled, scale), 1_795_540_800_000)


async def send(kafka: str, topics: Topics, sent: Iterable[Transfer], partition: int | None = None) -> None:
    """Acknowledged when it returns."""
    async with producing(kafka) as producer:
        for record in sent:
            value = avro.encode_transfer(record, TRANSFER_ID)
            await producer.send_and_wait(topics.transfers, value, record.account.encode(), partition)


async def open_account(kafka: str, topics: Topics, balance: Balance, partition: int | None = None) -> None:
    async with producing(kafka) as producer:
        value = avro.encode_balance(balance, BALANCE_ID)
        await producer.send_and_wait(topics.balances, value, balance.account.encode(), partition)


async def reached(position: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Asks until it is so. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await position():  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.02)
