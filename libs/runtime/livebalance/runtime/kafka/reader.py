"""Reads a range of a partition's committed records, outside any consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.raw_records import UnreadableRecordError
from livebalance.wire.identity import Offset
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import Millis

_WAIT_MS = 20  # longest wait of a fetch for records that do not exist yet

OnRecord = Callable[[RawRecord], None]
Prepare = Callable[[Iterable[bytes | None]], Awaitable[None]]  # fetches the schemas of values (decision 15)


async def read_range(
    kafka: Broker,
    partition: TopicPartition,
    on_record: OnRecord,
    start: int = 0,
    *,
    end: int | None = None,
    timeout_seconds: float = 30.0,
    prepare: Prepare | None = None,
) -> int:
    """Calls `on_record` with every committed record from offset `start` to before `end`.

    Without `end` it reads to the current end of the log, and waits for transactions that are open before that
    end (decision 7). A `start` before the first offset means the first offset. `prepare` is called with the
    values of each fetch before its records.

    Returns:
        The offset reached.

    Raises:
        TimeoutError: The end was not reached within `timeout_seconds`.
        KafkaError: The broker is unavailable or refuses the request.
        UnreadableRecordError: A record is damaged.
    """
    if end is not None and start >= end:
        return start
    consumer = AIOKafkaConsumer(
        **kafka.options,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=_WAIT_MS,
    )
    async with asyncio.timeout(timeout_seconds):
        try:
            await consumer.start()
            return await _read(consumer, partition, on_record, prepare=prepare, start=start, end=end)
        finally:
            await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer,
    partition: TopicPartition,
    on_record: OnRecord,
    *,
    prepare: Prepare | None,
    start: int,
    end: int | None,
) -> int:
    consumer.assign([partition])
    first = (await consumer.beginning_offsets([partition]))[partition]
    consumer.seek(partition, max(start, first))
    while True:
        for records in (await consumer.getmany(partition, timeout_ms=_WAIT_MS)).values():
            if prepare:
                await prepare(record.value for record in records)
            for record in records:
                if end is None or record.offset < end:
                    if record.unreadable:
                        raise UnreadableRecordError(record)
                    on_record(record)
        end = consumer.highwater(partition) if end is None else end
        reached: int = await consumer.position(partition)
        if end is not None and reached >= end:
            return reached


async def read_next(
    kafka: Broker, partition: TopicPartition, offset: int, timeout_seconds: float
) -> RawRecord | None:
    """Returns the first committed record from `offset` on, None if there is none. It may be unreadable.

    Raises:
        TimeoutError: The broker did not answer within `timeout_seconds`.
        KafkaError: The broker is unavailable, refuses the request, or does not hold `offset`.
    """
    consumer = AIOKafkaConsumer(
        **kafka.options,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_wait_ms=_WAIT_MS,
    )
    async with asyncio.timeout(timeout_seconds):
        try:
            await consumer.start()
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            consumer.seek(partition, offset)
            while await consumer.position(partition) < end:
                fetched = await consumer.getmany(partition, timeout_ms=_WAIT_MS, max_records=1)
                if records := fetched.get(partition):
                    record: RawRecord = records[0]
                    return record
        finally:
            await consumer.stop()
    return None


async def offsets_for_time(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], time: Millis
) -> dict[TopicPartition, Offset]:
    """Returns each partition's first offset that is not older than `time`, else its end offset."""
    partitions = list(partitions)
    offsets = await consumer.offsets_for_times(dict.fromkeys(partitions, time))
    ends = await consumer.end_offsets(partitions)
    return {
        partition: Offset(offsets[partition].offset if offsets.get(partition) else ends[partition])
        for partition in partitions
    }
