"""Reads a range of a partition's committed records, outside any consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.runtime.kafka.client import start_client
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.raw_records import UnreadableRecordError
from livebalance.wire.identity import Offset
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import Millis

_COMPLETION_SECONDS = 0.005
_WAIT_MS = 20  # longest wait of a fetch for records that do not exist yet
_MAX_RECORDS = 1_000  # of one fetch, so that other tasks run in between

OnRecord = Callable[[RawRecord], None]
Prepare = Callable[[Sequence[RawRecord]], Awaitable[None]]


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
    records of each fetch, before `on_record`. `lost` are the offsets of records that are left out if they are
    damaged.

    Returns:
        The offset reached.

    Raises:
        TimeoutError: No progress was made for `timeout_seconds`. The read as a whole may take longer.
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
    try:
        async with asyncio.timeout(timeout_seconds):
            await start_client(consumer)
            consumer.assign([partition])
            first = (await consumer.beginning_offsets([partition]))[partition]
            consumer.seek(partition, max(start, first))
        return await _read(
            consumer,
            partition,
            on_record,
            prepare,
            limit=end,
            before=end,
            lost=lost,
            timeout_seconds=timeout_seconds,
        )
    finally:
        async with asyncio.timeout(timeout_seconds):
            await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer,
    partition: TopicPartition,
    on_record: OnRecord,
    prepare: Prepare | None,
    *,
    limit: int | None,
    before: int | None = None,
    lost: Container[int] = (),
    timeout_seconds: float,
) -> int:
    """Reads on to `limit`, or to the end of the log as the first fetch finds it. Returns the offset reached.

    A fetch can contain records at or beyond `limit`. They are left out only if they are not `before`.
    """
    now = asyncio.get_running_loop().time
    async with asyncio.timeout(timeout_seconds) as deadline:
        reached: int = await consumer.position(partition)
        while limit is None or reached < limit:
            fetched = await consumer.getmany(partition, timeout_ms=_WAIT_MS, max_records=_MAX_RECORDS)
            for records in fetched.values():
                wanted = [r for r in records if r.offset < before] if before is not None else records
                await _handle(wanted, on_record, prepare, lost)
            limit = consumer.highwater(partition) if limit is None else limit
            last, reached = reached, await consumer.position(partition)
            if reached > last:
                deadline.reschedule(now() + timeout_seconds)
            await asyncio.sleep(0)  # a fetch of records that are in memory already does not wait
    return reached


async def _handle(
    records: Sequence[RawRecord], on_record: OnRecord, prepare: Prepare | None, lost: Container[int]
) -> None:
    if prepare:
        await prepare(records)
    for record in records:
        if not record.unreadable:
            on_record(record)
        elif record.offset not in lost:
            raise UnreadableRecordError(record)


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
            await start_client(consumer)
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


def is_transaction(own: Sequence[int], start: int, end: int) -> bool:
    """Returns whether the records at the offsets `own`, and Kafka's marker, are all from `start` to `end`."""
    return bool(own) and own[0] == start and end - start == len(own) + 1


class PartitionReader:
    """Reads a partition's committed records on from call to call, outside any consumer group.

    `prepare` is called with the records of each fetch, before the records. No call waits longer than
    `timeout_seconds` without progress.
    """

    def __init__(
        self, kafka: Broker, partition: TopicPartition, prepare: Prepare, timeout_seconds: float
    ) -> None:
        self._partition, self._prepare, self._timeout_seconds = partition, prepare, timeout_seconds
        self._consumer = AIOKafkaConsumer(
            **kafka.options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        self._next_offset = 0

    async def start(self, offset: int) -> None:
        """Connects, and begins at `offset`. Raises TimeoutError or KafkaError if Kafka is unavailable."""
        async with asyncio.timeout(self._timeout_seconds):
            await start_client(self._consumer)
        self._consumer.assign([self._partition])
        self._consumer.pause(self._partition)  # or it would fetch the caller's own records, too
        self.seek(offset)

    def seek(self, offset: int) -> None:
        """Continues at `offset`."""
        self._next_offset = offset
        self._consumer.seek(self._partition, offset)

    async def read(self, on_record: OnRecord, own: Sequence[int], lost: Container[int] = ()) -> int:
        """Calls `on_record` with each record up to the last stable offset, and returns the offset reached.

        Kafka completes a transaction shortly after its commit. So the call waits while the last stable offset
        is the first of `own`, the offsets of the records in the caller's last transaction. If nothing but
        this transaction follows, its records are not read. `lost` are the offsets of records that are left
        out if they are damaged.

        Raises:
            TimeoutError: No progress was made in time.
            UnreadableRecordError: A record that is not `lost` is damaged.
        """
        async with asyncio.timeout(self._timeout_seconds):
            end = await self._stable_offset()
            while own and end == own[0]:
                await asyncio.sleep(_COMPLETION_SECONDS)  # Kafka has no notification
                end = await self._stable_offset()
        if end == self._next_offset or is_transaction(own, self._next_offset, end):
            self.seek(end)
            return end
        self._consumer.resume(self._partition)
        try:
            self._next_offset = await _read(
                self._consumer,
                self._partition,
                on_record,
                self._prepare,
                limit=end,
                lost=lost,
                timeout_seconds=self._timeout_seconds,
            )
        finally:
            self._consumer.pause(self._partition)
        return self._next_offset

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
