"""Both topics must have the same partitions: a lane is one partition number of both."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient

from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime.refused import RefusedError

_SECONDS = 30.0


async def check_lanes(settings: RecorderSettings) -> int:
    """How many lanes there are. Raises RefusedError when a topic is missing or the counts differ."""
    names = settings.transfers_topic, settings.balances_topic
    admin = AIOKafkaAdminClient(**settings.broker.options)
    async with asyncio.timeout(_SECONDS):
        try:
            await admin.start()
            topics = await admin.describe_topics(list(names))
        finally:
            await admin.close()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in topics if not topic["error_code"]}
    missing = [name for name in names if not counts.get(name)]
    if missing:
        raise RefusedError(f"create the topic {' and '.join(missing)} first: it is never created by itself")
    if len(set(counts.values())) != 1:
        raise RefusedError(f"{names[0]} and {names[1]} must have the same number of partitions: {counts}")
    return counts[names[0]]
