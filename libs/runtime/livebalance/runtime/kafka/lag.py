"""How far behind its broker a consumer of committed records is, of each partition.

It is measured to the last stable offset: what an open transaction holds is not to be had yet, and where
nothing but the markers of ended ones follows, nothing waits. So a transaction that nobody ends looks like a
quiet topic, and how long one holds back what follows it is measured as well.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import Gauge

from livebalance.wire.timestamp import Millis


class LagGauges(NamedTuple):
    """What a service shows of it, of each partition that it follows."""

    records: Gauge
    seconds: Gauge
    held_back: Gauge


def gauges(service: str) -> LagGauges:
    """To be made once; `service` is part of their names."""
    name, labels = f"livebalance_{service}", ["topic", "lane"]
    return LagGauges(
        Gauge(
            f"{name}_lag_records",
            "Offsets between what is done and the last stable one, as far as the broker has told. 0 at rest.",
            labels,
        ),
        Gauge(
            f"{name}_lag_seconds",
            "Seconds that the oldest record not done has waited, at most. 0 when none waits; it grows while "
            "the lane, or what is written to, stands still.",
            labels,
        ),
        Gauge(
            f"{name}_open_transaction_seconds",
            "Seconds that one and the same open transaction has held back what follows it, whoever's it is; "
            "no lag counts that. 0 at rest.",
            labels,
        ),
    )


@dataclass(slots=True)
class _Reading:
    since: Millis  # when it was first followed
    done: int | None = None  # the offset before which nothing is left to do; None: not known yet
    end: int = 0  # the furthest there was
    as_of: Millis | None = None  # all that the broker had then is done
    held: int | None = None  # where an open transaction begins; None: nothing is behind one
    began: int = 0  # ms: when the broker told of it first
    held_back: int = 0  # ms since


class Lag:
    """Asks nothing of the broker: what its answers to fetches have told is known."""

    def __init__(self, consumer: AIOKafkaConsumer, shown: LagGauges) -> None:
        self._consumer, self._shown = consumer, shown
        self._readings: dict[TopicPartition, _Reading] = {}

    def follow(self, partitions: Iterable[TopicPartition]) -> None:
        """These are shown from now on, and no others. What is known of one that was followed before stays."""
        known = self._readings
        self._readings = {at: known.get(at) or _Reading(_now()) for at in partitions}
        for gauge, value in zip(self._shown, (self.records, self.seconds, self.held_back), strict=True):
            gauge.clear()
            for at in self._readings:
                gauge.labels(at.topic, at.partition).set_function(partial(value, at))

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

    def held_back(self, at: TopicPartition) -> float:
        """Seconds that the stable end has stayed where it is, with more behind it: a transaction is open.

        They run from answer to answer of the broker: one that is away holds nothing back. That it is asked
        for seldom does no harm, as an end that is there again has not moved in between.
        """
        if (reading := self._readings.get(at)) is None:
            return 0.0
        consumer = self._consumer
        answered = consumer.last_poll_timestamp(at) if at in consumer.assignment() else None
        if answered is not None:
            stable = consumer.last_stable_offset(at)
            held = stable if stable < consumer.highwater(at) else None
            if held is None or held != reading.held:
                reading.held, reading.began = held, answered
            reading.held_back = max(0, answered - reading.began)
        return reading.held_back / 1000


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
