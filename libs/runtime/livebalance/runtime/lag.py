"""How far behind its broker a consumer of committed records is, of each partition.

It is measured to the last stable offset: what an open transaction holds is not to be had yet, and where
nothing but the markers of ended ones follows, nothing waits.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.wire.instant import Millis


@dataclass(slots=True)
class _Reading:
    since: Millis  # when it was first followed
    done: int | None = None  # the offset before which nothing is left to do; None: not known yet
    end: int = 0  # the furthest there was
    as_of: Millis | None = None  # all that the broker had then is done


class Lag:
    """Asks nothing of the broker: what its answers to fetches have told is known."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._readings: dict[TopicPartition, _Reading] = {}

    def follow(self, partitions: Iterable[TopicPartition]) -> None:
        """These, from now on, and no others. What is known of one that was followed before stays."""
        known = self._readings
        self._readings = {at: known.get(at) or _Reading(_now()) for at in partitions}

    async def done(self, at: TopicPartition, next_: int, newest: Millis | None) -> None:
        """All that was handed out of it is done: what comes next is not before `next_`.

        `newest`: Kafka's time of the last record done. To be called while the partition is assigned.
        """
        if (reading := self._readings.get(at)) is None:
            return
        reading.done = max(next_, await self._consumer.position(at))
        answered: int | None = self._consumer.last_poll_timestamp(at)
        if answered is not None and (newest is not None or not self.records(at)):
            reached = min(newest, answered) if newest is not None and self.records(at) else answered
            reading.as_of = Millis(max(reading.as_of or 0, reached))

    def stopped(self, at: TopicPartition, next_: int, end: int) -> None:
        """It is not read on from `next_`, though there is more up to `end`."""
        if reading := self._readings.get(at):
            reading.done, reading.end = next_, max(reading.end, end)

    def records(self, at: TopicPartition) -> int:
        """How many offsets wait."""
        if (reading := self._readings.get(at)) is None or reading.done is None:
            return 0
        if at in self._consumer.assignment():
            reading.end = max(reading.end, self._consumer.last_stable_offset(at) or 0)
        return max(0, reading.end - reading.done)

    def seconds(self, at: TopicPartition) -> float:
        """Since the last moment that is done whole: no record waits longer. 0 when none waits."""
        reading = self._readings.get(at)
        if reading is None or not self.records(at):
            return 0.0
        return max(0, _now() - (reading.as_of or reading.since)) / 1000


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
