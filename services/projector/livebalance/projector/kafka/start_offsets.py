"""What the two topics must be, checked before anything is read."""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import LaneStart, whole
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.reader import offsets_since
from livebalance.runtime.kafka.topics import source, unfit
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.timestamp import millis

_SECONDS = 10.0


async def starts(settings: ProjectorSettings) -> list[LaneStart]:
    """All lanes there are, and where each is begun if nobody has read it yet.

    Raises RefusedError when a topic is missing, when they are not co-partitioned, when transfers are not kept
    for ever or balances not compacted; and what aiokafka raises, TimeoutError among it.
    """
    async with asyncio.timeout(_SECONDS):
        found = await source(settings.broker, settings.transfers_topic, settings.balances_topic)
    if wrong := unfit(found):
        raise StartupError(wrong)
    lanes = found.partitions[settings.transfers_topic]
    if settings.start_from == "beginning":
        return whole(lanes)
    return await _since(settings, settings.start_from, [Lane(number) for number in range(lanes)])


async def _since(settings: ProjectorSettings, start: datetime, lanes: Iterable[Lane]) -> list[LaneStart]:
    """Transfers are read from a time on; balances all the same: who was quiet since has one too."""
    transfers = {lane: TopicPartition(settings.transfers_topic, lane) for lane in lanes}
    balances = {lane: TopicPartition(settings.balances_topic, lane) for lane in transfers}
    consumer = AIOKafkaConsumer(**settings.broker.options, enable_auto_commit=False)
    async with asyncio.timeout(_SECONDS):
        try:
            await consumer.start()
            since = await offsets_since(consumer, transfers.values(), millis(start))
            first = await consumer.beginning_offsets(balances.values())
        finally:
            await consumer.stop()
    return [
        LaneStart(lane, since[at], Offset(first[balances[lane]]), False) for lane, at in transfers.items()
    ]
