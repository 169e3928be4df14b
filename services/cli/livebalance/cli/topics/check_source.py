"""Looks at the two topics that a projection is to be built from."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.topics.sample import Sample, apart, sample
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.reader import offsets_since
from livebalance.runtime.kafka.topics import Source, source, unfit
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.codec import Kind
from livebalance.wire.timestamp import millis

WITHIN = 20.0  # seconds for each topic
_PATIENCE_MS = 200


class PartitionReport(NamedTuple):
    """One partition: the first offset there is, the next that will be, and where reading would begin."""

    first: int
    end: int
    begin: int


class TopicReport(NamedTuple):
    name: str
    logs: dict[int, PartitionReport]
    sample: Sample


class SourceReport(NamedTuple):
    """`unfit`: why no projection can be built; `apart`: accounts that no lane has whole."""

    source: Source
    unfit: str | None
    transfers: TopicReport
    balances: TopicReport
    apart: dict[AccountId, tuple[int, int]]

    @property
    def is_good(self) -> bool:
        refused = self.transfers.sample.refused or self.balances.sample.refused
        return self.unfit is None and not self.apart and not refused


async def check_source(most: int) -> SourceReport:
    """At the newest `most` records of each topic. Raises UserError."""
    settings = addresses.kafka()
    try:
        async with asyncio.timeout(WITHIN):
            found = await source(settings.broker, settings.transfers_topic, settings.balances_topic)
        transfers = await _topic(settings, "transfer", found, most)
        balances = await _topic(settings, "balance", found, most)
    except StartupError as refused:
        raise UserError(str(refused)) from refused
    except (KafkaError, OSError) as cause:  # TimeoutError is one
        raise UserError(f"{settings.kafka}: {str(cause) or type(cause).__name__}") from cause
    return SourceReport(found, unfit(found), transfers, balances, apart(transfers.sample, balances.sample))


async def _topic(settings: ServiceSettings, kind: Kind, found: Source, most: int) -> TopicReport:
    name = found.transfers if kind == "transfer" else found.balances
    count = found.partitions[name]
    consumer = AIOKafkaConsumer(
        **settings.broker.options,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with asyncio.timeout(WITHIN):
        try:
            await consumer.start()
            partitions = [TopicPartition(name, number) for number in range(count)]
            consumer.assign(partitions)
            logs = await _logs(consumer, partitions, settings if kind == "transfer" else None)
            records = await _newest(consumer, logs, most)
        finally:
            await consumer.stop()
        values = Values(settings)
        await values.learn(record.value for record in records)
    by_number = {at.partition: log for at, log in sorted(logs.items())}
    return TopicReport(name, by_number, sample(kind, records, values.codec))


async def _logs(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], since: ServiceSettings | None
) -> dict[TopicPartition, PartitionReport]:
    first = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    begin: Mapping[TopicPartition, int] = first
    if since and since.start_from != "beginning":
        begin = await offsets_since(consumer, partitions, millis(since.start_from))
    return {at: PartitionReport(first[at], ends[at], begin[at]) for at in partitions}


async def _newest(
    consumer: AIOKafkaConsumer, logs: Mapping[TopicPartition, PartitionReport], most: int
) -> list[ConsumerRecord]:
    """About `most`, as many of each partition; transactions that are open are not waited for."""
    for at, log in logs.items():
        consumer.seek(at, max(log.first, log.end - max(1, most // len(logs))))
    found: list[ConsumerRecord] = []
    while any([await consumer.position(at) < log.end for at, log in logs.items()]):
        some = await consumer.getmany(timeout_ms=_PATIENCE_MS)
        found += [record for records in some.values() for record in records]
    return found
