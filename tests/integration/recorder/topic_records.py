"""Reads and writes records of the two topics."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import read_range
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID, FileRegistry
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money

_WRITER = FileRegistry().writer_schema


class WrittenBalance(NamedTuple):
    """A balance record of the topic."""

    balance: Balance
    source_offset: int | None
    partition: int


async def read_records(kafka: str, topic: str, partitions: int) -> list[RawRecord]:
    """Returns all committed records up to the current end, partition by partition."""
    records: list[RawRecord] = []
    for partition in range(partitions):
        await read_range(Broker(kafka), TopicPartition(topic, partition), records.append)
    return records


async def read_balances(kafka: str, topics: Topics) -> list[WrittenBalance]:
    records = await read_records(kafka, topics.balances, topics.partitions)
    return [_balance(record) for record in records if record.value is not None]


async def read_transfers(kafka: str, topics: Topics) -> list[Transfer]:
    records = await read_records(kafka, topics.transfers, topics.partitions)
    return [avro.decode_transfer(record.value or b"", _WRITER) for record in records]


async def has_transfers(kafka: str, topics: Topics, *ids: str) -> bool:
    """Returns whether each of the transfers has a balance."""
    return {written.balance.transfer_id for written in await read_balances(kafka, topics)} >= set(ids)


def _balance(record: RawRecord) -> WrittenBalance:
    source = dict(record.headers).get(b"source-offset") or b""
    balance = avro.decode_balance(record.value or b"", _WRITER)
    return WrittenBalance(balance, int(source) if source.isdigit() else None, record.partition)


@asynccontextmanager
async def plain_producer(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer without transactions."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def transfer(id_: str, account: str, unscaled: int, scale: int = 2) -> Transfer:
    return Transfer(TransferId(id_), AccountId(account), Money(unscaled, scale), 1_795_540_800_000)


async def send_transfers(
    kafka: str, topics: Topics, transfers: Iterable[Transfer], partition: int | None = None
) -> None:
    """Sends transfers and waits for the acknowledgement."""
    async with plain_producer(kafka) as producer:
        for record in transfers:
            value = avro.encode_transfer(record, TRANSFER_ID)
            await producer.send_and_wait(topics.transfers, value, record.account.encode(), partition)


async def open_account(kafka: str, topics: Topics, balance: Balance, partition: int | None = None) -> None:
    async with plain_producer(kafka) as producer:
        value = avro.encode_balance(balance, BALANCE_ID)
        await producer.send_and_wait(topics.balances, value, balance.account.encode(), partition)


async def wait_until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Waits until the condition is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - Kafka has no notification
            await asyncio.sleep(0.02)
