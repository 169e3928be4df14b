"""Reads a range of a partition's committed records, outside any consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.raw_records import UnreadableRecordError
from livebalance.wire.identity import Offset
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import Millis

_COMPLETION_SECONDS = 0.005
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
    lost: Container[int] = (),
) -> int:
    """Calls `on_record` with every committed record from offset `start` to before `end`.

    Without `end` it reads to the current end of the log, and waits for transactions that are open before that
    end (decision 7). A `start` before the first offset means the first offset. `prepare` is called with the
    values of each fetch before its records. `lost` are the offsets of records that are left out if they are
    damaged.

    Returns:
        The offset reached.

    Raises:
        TimeoutError: The end was not reached within `timeout_seconds`.
        KafkaError: The broker is unavailable or refuses the request.
        UnreadableRecordError: A record that is not `lost` is damaged.
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
            return await _read(
                consumer, partition, on_record, prepare=prepare, start=start, end=end, lost=lost
            )
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
    lost: Container[int],
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
                    if not record.unreadable:
                        on_record(record)
                    elif record.offset not in lost:
                        raise UnreadableRecordError(record)
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


class PartitionReader:
    """Reads a partition's committed records on from call to call, outside any consumer group.

    `prepare` is called with the values of each fetch before its records.
    """

    def __init__(self, kafka: Broker, partition: TopicPartition, prepare: Prepare) -> None:
        self._partition, self._prepare = partition, prepare
        self._consumer = AIOKafkaConsumer(
            **kafka.options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    async def start(self, offset: int) -> None:
        """Connects, and begins at `offset`."""
        await self._consumer.start()
        self._consumer.assign([self._partition])
        self._consumer.seek(self._partition, offset)

    def seek(self, offset: int) -> None:
        """Continues at `offset`."""
        self._consumer.seek(self._partition, offset)

    async def read(self, on_record: OnRecord, own: int) -> int:
        """Calls `on_record` with each record up to the last stable offset, and returns this offset.

        Kafka completes a transaction shortly after its commit. So the call waits while the last stable offset
        is `own`, the offset of the first record in the caller's last transaction. It can wait forever.

        Raises:
            UnreadableRecordError: A record is damaged.
        """
        while (end := await self._stable_offset()) == own:  # noqa: ASYNC110 - Kafka has no notification
            await asyncio.sleep(_COMPLETION_SECONDS)
        while await self._consumer.position(self._partition) < end:
            fetched = await self._consumer.getmany(self._partition, timeout_ms=_WAIT_MS)
            for records in fetched.values():
                await self._prepare(record.value for record in records)
                for record in records:
                    if record.unreadable:
                        raise UnreadableRecordError(record)
                    on_record(record)
        return end

    async def _stable_offset(self) -> int:
        offset: int = (await self._consumer.end_offsets([self._partition]))[self._partition]
        return offset

    async def stop(self) -> None:
        """Disconnects."""
        await self._consumer.stop()


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
