"""What follows a commit: the group's mark, then the news; while the next batch is read and written."""

import asyncio
from collections.abc import Sequence

from livebalance.projector import metrics
from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.kafka.consumer import LaneConsumer
from livebalance.projector.redis.messages import Message
from livebalance.projector.redis.publisher import Publisher


class AfterCommit:
    """One batch at a time, in the order of the commits: whoever is ahead of it waits."""

    def __init__(self, intake: LaneConsumer, doorbell: Publisher) -> None:
        self._intake, self._doorbell = intake, doorbell
        self._under_way: asyncio.Task[None] | None = None

    async def announce(self, lanes: Sequence[OwnedLane], news: Sequence[Message]) -> None:
        """Returns when the batch before is announced."""
        await self.done()
        self._under_way = asyncio.create_task(self._announce(lanes, news))

    async def done(self) -> None:
        """Returns when all is announced. Raises what is a bug."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            await under_way

    async def _announce(self, lanes: Sequence[OwnedLane], news: Sequence[Message]) -> None:
        with metrics.seconds.labels("commit_offsets").time():
            await self._intake.mark(lanes)
        with metrics.seconds.labels("publish").time():
            await self._doorbell.publish(news)
