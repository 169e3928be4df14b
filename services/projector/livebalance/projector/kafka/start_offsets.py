"""Checks the two topics at startup, and finds the offset at which each lane starts."""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import LaneStart, lanes_from_start
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.reader import offsets_for_time
from livebalance.runtime.kafka.topics import describe_topics, topics_error
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.timestamp import millis

_TIMEOUT_SECONDS = 10.0


async def lane_starts(settings: ProjectorSettings) -> list[LaneStart]:
    """Returns every lane, with the offsets at which a lane that has not been read yet starts.

    Raises:
        StartupError: a topic is missing, the topics are not co-partitioned, transfers are not kept forever,
            or balances are not compacted.
        KafkaError, TimeoutError: Kafka is unavailable.
    """
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        topics = await describe_topics(settings.broker, settings.transfers_topic, settings.balances_topic)
    if reason := topics_error(topics):
        raise StartupError(reason)
    lanes = topics.partitions[settings.transfers_topic]
    if settings.start_from == "beginning":
        return lanes_from_start(lanes)
    return await _starts_since(settings, settings.start_from, [Lane(number) for number in range(lanes)])


async def _starts_since(
    settings: ProjectorSettings, start: datetime, lanes: Iterable[Lane]
) -> list[LaneStart]:
    """Starts transfers at a time, and balances at their beginning.

    An account without changes since `start` has a balance too (decision 15).
    """
    transfers = {lane: TopicPartition(settings.transfers_topic, lane) for lane in lanes}
    balances = {lane: TopicPartition(settings.balances_topic, lane) for lane in transfers}
    consumer = AIOKafkaConsumer(**settings.broker.options, enable_auto_commit=False)
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        try:
            await consumer.start()
            since = await offsets_for_time(consumer, transfers.values(), millis(start))
            first = await consumer.beginning_offsets(balances.values())
        finally:
            await consumer.stop()
    return [
        LaneStart(lane, since[partition], Offset(first[balances[lane]]), False)
        for lane, partition in transfers.items()
    ]
