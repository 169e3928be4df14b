"""Both topics must have the same partitions: a lane is one partition number of both."""

import asyncio

from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime.refused import RefusedError
from livebalance.runtime.source import source, uneven

_SECONDS = 30.0


async def check_lanes(settings: RecorderSettings) -> int:
    """How many lanes there are. Raises RefusedError when a topic is missing or the counts differ."""
    async with asyncio.timeout(_SECONDS):
        found = await source(settings.broker, settings.transfers_topic, settings.balances_topic)
    if wrong := uneven(found):
        raise RefusedError(wrong)
    return found.partitions[settings.transfers_topic]
