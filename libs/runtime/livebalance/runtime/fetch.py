"""Fetching from Kafka what is there by now."""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

_LATER_MS = 2  # for the broker to hand out what came after the records at hand
_HELD_SECONDS = 1.0  # beyond its own time, before a fetch is given up

Fetched = dict[TopicPartition, list[ConsumerRecord]]


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
        for at, later in (await _get(consumer, ready, _LATER_MS, room)).items():
            found[at] = found.get(at, []) + later
    return found


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
