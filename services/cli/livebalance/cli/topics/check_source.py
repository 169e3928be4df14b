"""Reads the settings and the newest records of the two topics that a projection is to be built from."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.topics.sample import Sample, decode_sample, split_accounts
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.reader import offsets_for_time
from livebalance.runtime.kafka.topics import SourceTopics, describe_topics, topics_error
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.codec import Kind
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import millis

TIMEOUT_SECONDS = 20.0  # for each topic
_POLL_MS = 200


class PartitionReport(NamedTuple):
    """Offsets of a partition: its first record, its next record, and where a projector starts."""

    first: int
    next: int
    start: int


class TopicReport(NamedTuple):
    """The partitions of a topic, and its newest records."""

    name: str
    partitions: dict[int, PartitionReport]
    sample: Sample


class SourceReport(NamedTuple):
    """Both topics.

    `topics_error` says why no projection can be built. `split_accounts` have their transfers and their
    balances in partitions with different numbers, so that no lane has both.
    """

    source: SourceTopics
    topics_error: str | None
    transfers: TopicReport
    balances: TopicReport
    split_accounts: dict[AccountId, tuple[int, int]]

    @property
    def is_good(self) -> bool:
        """Whether a projection can be built without rejecting a record of the sample."""
        rejected = self.transfers.sample.rejected or self.balances.sample.rejected
        return self.topics_error is None and not self.split_accounts and not rejected


async def check_source(limit: int) -> SourceReport:
    """Checks the topics, and about `limit` of the newest records of each.

    Raises:
        UserError: a topic is missing, or Kafka or the schema registry failed.
    """
    settings = addresses.kafka()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            source = await describe_topics(settings.broker, settings.transfers_topic, settings.balances_topic)
        transfers = await _read_topic(settings, "transfer", source, limit)
        balances = await _read_topic(settings, "balance", source, limit)
    except StartupError as error:
        raise UserError(str(error)) from error
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        raise UserError(f"{settings.kafka}: {str(cause) or type(cause).__name__}") from cause
    split = split_accounts(transfers.sample, balances.sample)
    return SourceReport(source, topics_error(source), transfers, balances, split)


async def _read_topic(settings: ServiceSettings, kind: Kind, source: SourceTopics, limit: int) -> TopicReport:
    name = source.transfers if kind == "transfer" else source.balances
    consumer = AIOKafkaConsumer(
        **settings.broker.options,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with asyncio.timeout(TIMEOUT_SECONDS):
        try:
            await consumer.start()
            partitions = [TopicPartition(name, number) for number in range(source.partitions[name])]
            consumer.assign(partitions)
            reports = await _offsets(consumer, partitions, settings if kind == "transfer" else None)
            records = await _newest(consumer, reports, limit)
        finally:
            await consumer.stop()
        values = Values(settings)
        await values.fetch_schemas(record.value for record in records)
    by_number = {partition.partition: report for partition, report in sorted(reports.items())}
    sample = decode_sample(kind, records, values.codec, settings.max_scale)
    return TopicReport(name, by_number, sample)


async def _offsets(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], start_from: ServiceSettings | None
) -> dict[TopicPartition, PartitionReport]:
    first = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    start: Mapping[TopicPartition, int] = first
    if start_from and start_from.start_from != "beginning":
        start = await offsets_for_time(consumer, partitions, millis(start_from.start_from))
    return {
        partition: PartitionReport(first[partition], ends[partition], start[partition])
        for partition in partitions
    }


async def _newest(
    consumer: AIOKafkaConsumer, reports: Mapping[TopicPartition, PartitionReport], limit: int
) -> list[RawRecord]:
    """Returns about `limit` records, equally many of each partition, without records of open transactions."""
    for partition, report in reports.items():
        consumer.seek(partition, max(report.first, report.next - max(1, limit // len(reports))))
    records: list[RawRecord] = []
    while any([await consumer.position(partition) < report.next for partition, report in reports.items()]):
        batches = await consumer.getmany(timeout_ms=_POLL_MS)
        records += [record for batch in batches.values() for record in batch]
    return records
