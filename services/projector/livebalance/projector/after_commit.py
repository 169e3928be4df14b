"""Commits offsets and publishes messages after Postgres has committed, beside the next batch (decision 9)."""

import asyncio
from collections.abc import Sequence

from livebalance.projector import metrics
from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.kafka.consumer import LaneConsumer
from livebalance.projector.redis.messages import Message
from livebalance.projector.redis.publisher import Publisher


class AfterCommit:
    """Handles a single batch at a time, in the order of the commits."""

    def __init__(self, consumer: LaneConsumer, publisher: Publisher) -> None:
        self._consumer, self._publisher = consumer, publisher
        self._task: asyncio.Task[None] | None = None

    async def start(self, lanes: Sequence[OwnedLane], messages: Sequence[Message]) -> None:
        """Starts on a batch, once the previous batch is done."""
        await self.done()
        self._task = asyncio.create_task(self._run(lanes, messages))

    async def done(self) -> None:
        """Waits until the last batch is done. Raises the exception of its task: a bug."""
        if self._task is not None:
            task, self._task = self._task, None
            await task

    async def _run(self, lanes: Sequence[OwnedLane], messages: Sequence[Message]) -> None:
        with metrics.batch_seconds.labels("commit_offsets").time():
            await self._consumer.commit(lanes)
        with metrics.batch_seconds.labels("publish").time():
            await self._publisher.publish(messages)
