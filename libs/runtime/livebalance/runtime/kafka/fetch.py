"""Fetches records that Kafka has now, with a bounded wait."""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.wire.kafka.raw_record import RawRecord

_NEWER_WAIT_MS = 2  # time for the broker to hand out the records after those that are already fetched
_REBALANCE_SECONDS = 1.0  # a fetch that takes this much longer than its own wait is cancelled

Fetched = dict[TopicPartition, list[RawRecord]]


async def fetch_evenly(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], max_records: int
) -> Fetched:
    """Returns up to `max_records` records that are already fetched, first an equal share of each partition.

    aiokafka empties a partition before it turns to the next. In a backlog, a service that joins two topics
    would otherwise receive only records of the first topic for a while.
    """
    fetched: Fetched = {}
    share, room = max(1, max_records // len(partitions)), max_records
    for part, limit in [*(([partition], share) for partition in partitions), (partitions, max_records)]:
        if room > 0:
            more = await _get(consumer, part, 0, min(limit, room))
            room -= sum(map(len, more.values()))
            _add(fetched, more)
    return fetched


async def collect(
    consumer: AIOKafkaConsumer,
    partitions: Collection[TopicPartition],
    wait_ms: int,
    max_records: int,
    *,
    collect_ms: int,
) -> Fetched:
    """Returns up to `max_records` records of `partitions`. Waits up to `wait_ms` if there are none.

    If records have waited while the caller was busy, it also returns what arrives within `collect_ms`. It
    sleeps meanwhile, because each request for newer records takes the broker's time.
    """
    fetched = await _get(consumer, partitions, 0, max_records)
    if not fetched:
        return await _get(consumer, partitions, wait_ms, max_records)
    await asyncio.sleep(collect_ms / 1000)
    for newer_ms in (0, _NEWER_WAIT_MS):
        if (room := max_records - sum(map(len, fetched.values()))) > 0:
            _add(fetched, await _get(consumer, partitions, newer_ms, room))
    return fetched


async def fetch(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], wait_ms: int, max_records: int
) -> Fetched:
    """Returns up to `max_records` records of `partitions`. Waits up to `wait_ms` if there are none.

    While a fetched record waits in memory, aiokafka requests no further records from its broker. Records that
    waited while the caller was busy are therefore old, so the broker is asked for newer records as well.
    """
    fetched = await _get(consumer, partitions, 0, max_records)
    if not fetched:
        return await _get(consumer, partitions, wait_ms, max_records)
    if (room := max_records - sum(map(len, fetched.values()))) > 0:
        _add(fetched, await _get(consumer, partitions, _NEWER_WAIT_MS, room))
    return fetched


def _add(fetched: Fetched, more: Fetched) -> None:
    for partition, records in more.items():
        fetched[partition] = fetched.get(partition, []) + records


async def _get(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition], wait_ms: int, max_records: int
) -> Fetched:
    try:
        # A rebalance blocks getmany for as long as it takes. A cancelled getmany has returned no record.
        async with asyncio.timeout(wait_ms / 1000 + _REBALANCE_SECONDS):
            fetched: Fetched = await consumer.getmany(
                *partitions, timeout_ms=wait_ms, max_records=max_records
            )
    except TimeoutError:
        return {}
    return fetched
