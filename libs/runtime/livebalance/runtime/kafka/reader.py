"""Reading a stretch of a partition again, outside any consumer group: committed records only."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.wire.identity import Offset
from livebalance.wire.timestamp import Millis

_PATIENCE_MS = 20  # how long one fetch waits for records that are not there yet

Take = Callable[[ConsumerRecord], None]
Learn = Callable[[Iterable[bytes | None]], Awaitable[None]]  # what values need before they are taken


async def replay(
    kafka: Broker,
    partition: TopicPartition,
    take: Take,
    start: int = 0,
    *,
    end: int | None = None,
    within: float = 30.0,
    learn: Learn | None = None,
) -> int:
    """Gives `take` every committed record from offset `start` to before `end`; returns the offset reached.

    Without `end` it reads to the end of the log at this moment. That end includes transactions still open,
    so the reading waits for their outcome: to stop at the last stable offset instead would leave out what
    others committed after the first record of an open one. A `start` before the log's start means the start.
    Raises TimeoutError after `within` seconds.
    """
    if end is not None and start >= end:
        return start
    reader = AIOKafkaConsumer(
        **kafka.options,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=_PATIENCE_MS,
    )
    async with asyncio.timeout(within):
        try:
            await reader.start()
            return await _read(reader, partition, take, learn=learn, start=start, end=end)
        finally:
            await reader.stop()


async def _read(
    reader: AIOKafkaConsumer,
    partition: TopicPartition,
    take: Take,
    *,
    learn: Learn | None,
    start: int,
    end: int | None,
) -> int:
    reader.assign([partition])
    first = (await reader.beginning_offsets([partition]))[partition]
    reader.seek(partition, max(start, first))
    while True:
        for records in (await reader.getmany(partition, timeout_ms=_PATIENCE_MS)).values():
            if learn:
                await learn(record.value for record in records)
            for record in records:
                if end is None or record.offset < end:
                    take(record)
        end = reader.highwater(partition) if end is None else end
        reached: int = await reader.position(partition)
        if end is not None and reached >= end:
            return reached


async def offsets_since(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], since: Millis
) -> dict[TopicPartition, Offset]:
    """Of each partition, the first record not older than `since`, else where the next one will be."""
    wanted = list(partitions)
    found = await consumer.offsets_for_times(dict.fromkeys(wanted, since))
    ends = await consumer.end_offsets(wanted)
    return {at: Offset(found[at].offset if found.get(at) else ends[at]) for at in wanted}
