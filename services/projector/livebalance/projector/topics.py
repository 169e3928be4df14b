"""What the two topics must be, checked before anything is read."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, UnknownTopicOrPartitionError, for_code

from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import LaneStart, whole
from livebalance.runtime.history import offsets_since
from livebalance.runtime.refused import RefusedError
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.instant import millis

_SECONDS = 10.0


async def starts(settings: ProjectorSettings) -> list[LaneStart]:
    """All lanes there are, and where each is begun if nobody has read it yet.

    Raises RefusedError when a topic is missing, when they are not co-partitioned, when transfers are not kept
    for ever or balances not compacted; and what aiokafka raises, TimeoutError among it.
    """
    transfers, balances = settings.transfers_topic, settings.balances_topic
    admin = AIOKafkaAdminClient(**settings.broker.options)
    async with asyncio.timeout(_SECONDS):
        try:
            await admin.start()
            described = await admin.describe_topics([transfers, balances])
            counts = {one["topic"]: _partitions(one) for one in described}
            configs = {name: await _config(admin, name) for name in (transfers, balances)}
        finally:
            await admin.close()
    if wrong := unfit(transfers, balances, counts, configs):
        raise RefusedError(wrong)
    if settings.start == "beginning":
        return whole(counts[transfers])
    return await _since(settings, settings.start, [Lane(number) for number in range(counts[transfers])])


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


def unfit(
    transfers: str, balances: str, counts: dict[str, int], configs: dict[str, dict[str, str]]
) -> str | None:
    """What is wrong with the topics, in one line that says what to do; None if nothing is."""
    if counts[transfers] != counts[balances]:
        return (
            f"{transfers} has {counts[transfers]} partitions and {balances} {counts[balances]}:"
            " both must have the same number"
        )
    for setting in ("retention.ms", "retention.bytes"):
        if configs[transfers].get(setting) != "-1":
            return (
                f"{transfers} has {setting}={configs[transfers].get(setting)}, but a projection is rebuilt"
                f" from it: set {setting}=-1"
            )
    if "compact" in configs[transfers].get("cleanup.policy", ""):
        return f"{transfers} is compacted and loses transfers: set cleanup.policy=delete"
    if "compact" not in configs[balances].get("cleanup.policy", ""):
        return f"{balances} is not compacted and would lose balances: set cleanup.policy=compact"
    return None


def _partitions(topic: dict[str, Any]) -> int:
    error = for_code(topic["error_code"])
    if error is UnknownTopicOrPartitionError:
        raise RefusedError(
            f"there is no topic {topic['topic']}: create it first, it is never created by itself"
        )
    if error is not NoError:
        raise error
    return len(topic["partitions"])


async def _config(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [(_, _, _, _, entries)] = answer.resources
    return {entry[0]: entry[1] for entry in entries}
