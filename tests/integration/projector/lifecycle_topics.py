"""Topics of a test whose balances Kafka compacts at once, and the records of the lifecycle topic."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from aiokafka import AIOKafkaProducer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import read_range
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, Offset
from livebalance.wire.kafka.lifecycle import (
    ERASURE,
    Bound,
    Erased,
    Opened,
    encode_erasure_header,
    encode_lifecycle,
)
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.money import Money
from tests.integration.projector.pipeline import Pipeline, balance, kafka_producer
from tests.servers.database import Database
from tests.servers.topics import delete_topics

RULES = """
[transfers]
"retention.ms" = "-1"
[account-balances]
"cleanup.policy" = "compact"
"segment.ms" = "20"
"min.cleanable.dirty.ratio" = "0.001"
"delete.retention.ms" = "1"
[account-lifecycle]
"retention.ms" = "-1"
"""
COMPACTION_SECONDS = 60.0


@asynccontextmanager
async def compacting(pipeline: Pipeline) -> AsyncIterator[Pipeline]:
    """Gives a pipeline topics with one partition, whose balances are compacted within seconds."""
    rules, name = pipeline.directory / "topics.toml", secrets.token_hex(6)
    rules.write_text(RULES)
    topics, broker = Topics(f"t-{name}", f"b-{name}", 1, lifecycle=f"l-{name}"), Broker(pipeline.kafka)
    await topics.create(broker, rules)
    try:
        yield replace(pipeline, topics=topics)
    finally:
        await delete_topics(topics, broker)


@asynccontextmanager
async def empty_projection(pipeline: Pipeline) -> AsyncIterator[Pipeline]:
    """Gives a pipeline an empty database and another consumer group, for a replay from zero."""
    database = Database(pipeline.database.address, f"replay_{secrets.token_hex(6)}")
    await database.create()
    try:
        yield replace(pipeline, database=database, prefix=f"{database.name}:")
    finally:
        await database.drop()


async def write_opening(pipeline: Pipeline, account: str, unscaled: int) -> None:
    """Writes an opening to the lifecycle topic."""
    value = encode_lifecycle(Opened(AccountId(account), Money(unscaled, 2)))
    async with kafka_producer(pipeline.kafka) as producer:
        await producer.send_and_wait(pipeline.topics.lifecycle, value, account.encode(), 0)


async def write_openings_in_transactions(pipeline: Pipeline, accounts: Sequence[str]) -> None:
    """Writes an opening of each account in its own transaction; those after the first are aborted."""
    producer = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=pipeline.topics.lifecycle)
    await producer.start()
    try:
        for number, account in enumerate(accounts):
            value = encode_lifecycle(Opened(AccountId(account), Money(0, 2)))
            await producer.begin_transaction()
            await producer.send_and_wait(pipeline.topics.lifecycle, value, account.encode(), 0)
            await (producer.abort_transaction() if number else producer.commit_transaction())
    finally:
        await producer.stop()


async def topic_ids(pipeline: Pipeline) -> tuple[UUID, UUID]:
    names = pipeline.topics.transfers, pipeline.topics.balances
    identities = await read_topic_identities(Broker(pipeline.kafka), names)
    transfers, balances = (identities[name].id for name in names)
    assert transfers is not None
    assert balances is not None
    return transfers, balances


async def write_erasure(pipeline: Pipeline, account: str, before: int, *, with_null: bool = True) -> None:
    """Writes an erasure of the transfers below an offset, without a transaction."""
    transfers_id, balances_id = await topic_ids(pipeline)
    transfers = Bound(transfers_id, Offset(before))
    header = [(ERASURE.decode(), encode_erasure_header(transfers))]
    async with kafka_producer(pipeline.kafka) as producer:
        at = 10**6
        if with_null:
            sent = await producer.send_and_wait(
                pipeline.topics.balances, None, account.encode(), 0, headers=header
            )
            at = sent.offset
        value = encode_lifecycle(Erased(AccountId(account), transfers, Bound(balances_id, Offset(at))))
        await producer.send_and_wait(pipeline.topics.lifecycle, value, account.encode(), 0)


async def wait_until_compacted(pipeline: Pipeline, left: list[tuple[str, bool]]) -> None:
    """Waits until the topic of balances holds these records: the key, and whether there is a value.

    A record of the account `filler` is written again and again, because Kafka does not compact the newest
    segment.
    """
    records: list[tuple[str, bool]] = []

    def on_record(record: RawRecord) -> None:
        if record.key != b"filler":
            records.append(((record.key or b"").decode(), record.value is not None))

    partition = TopicPartition(pipeline.topics.balances, 0)
    try:
        async with asyncio.timeout(COMPACTION_SECONDS):
            while records != left:
                await pipeline.write([balance("filler", 0, "", 0)], partition=0)
                records.clear()
                await read_range(Broker(pipeline.kafka), partition, on_record)
                await asyncio.sleep(0.2)  # between two looks, because Kafka has no notification
    except TimeoutError:
        raise AssertionError(f"not compacted: {records}") from None
