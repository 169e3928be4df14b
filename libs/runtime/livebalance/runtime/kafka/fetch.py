"""Fetching from Kafka what is there by now."""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

_LATER_MS = 2  # for the broker to hand out what came after the records at hand
_HELD_SECONDS = 1.0  # beyond its own time, before a fetch is given up

Fetched = dict[TopicPartition, list[ConsumerRecord]]


async def fetch_evenly(consumer: AIOKafkaConsumer, ready: Collection[TopicPartition], most: int) -> Fetched:
    """Up to `most` records that are at hand, an equal part of each partition first.

    aiokafka empties one partition before it comes to the next. In a backlog whoever joins what comes by two
    topics would have all of one first.
    """
    found: Fetched = {}
    share, room = max(1, most // len(ready)), most
    for part, limit in [*(([at], share) for at in ready), (ready, most)]:
        if room > 0:
            more = await _get(consumer, part, 0, min(limit, room))
            room -= sum(map(len, more.values()))
            _add(found, more)
    return found


async def fetch(
    consumer: AIOKafkaConsumer, ready: Collection[TopicPartition], wait_ms: int, most: int
) -> Fetched:
    """Up to `most` records of the partitions `ready`, waiting `wait_ms` if there are none; maybe nothing.

    While a record waits here, aiokafka asks its broker for no more. So what waited while the caller was busy
    is old, and the broker is asked for what came since: one batch later it would be older still.
    """
    found = await _get(consumer, ready, 0, most)
    if not found:
        return await _get(consumer, ready, wait_ms, most)
    if (room := most - sum(map(len, found.values()))) > 0:
        _add(found, await _get(consumer, ready, _LATER_MS, room))
    return found


def _add(found: Fetched, later: Fetched) -> None:
    for at, records in later.items():
        found[at] = found.get(at, []) + records


async def _get(
    consumer: AIOKafkaConsumer, ready: Collection[TopicPartition], wait_ms: int, most: int
) -> Fetched:
    try:
        # A rebalance holds getmany back for as long as it takes; cut off, it has handed out nothing.
        async with asyncio.timeout(wait_ms / 1000 + _HELD_SECONDS):
            found: Fetched = await consumer.getmany(*ready, timeout_ms=wait_ms, max_records=most)
    except TimeoutError:
        return {}
    return found
