"""Measures how far a consumer of committed records is behind its broker, per partition.

The lag ends at the last stable offset. Records of an open transaction cannot be read yet, and the markers of
ended transactions are not records. A transaction that never ends therefore looks like an idle topic. The time
that a transaction holds back the records after it is a metric of its own.
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
    """The lag metrics of a service, per tracked partition."""

    records: Gauge
    seconds: Gauge
    open_transaction_seconds: Gauge


def lag_gauges(service: str) -> LagGauges:
    """Creates the metrics `livebalance_<service>_…`. Called once per service."""
    name, labels = f"livebalance_{service}", ["topic", "lane"]
    return LagGauges(
        Gauge(
            f"{name}_lag_records",
            "Offsets between the next record to process and the last stable offset. 0 when no record waits.",
            labels,
        ),
        Gauge(
            f"{name}_lag_seconds",
            "Seconds that the oldest unprocessed record has waited, at most. 0 when no record waits. Grows "
            "while the lane makes no progress.",
            labels,
        ),
        Gauge(
            f"{name}_open_transaction_seconds",
            "Seconds that the same open transaction, of any producer, has held back the records after it. "
            "The lag does not include this time. 0 when no transaction is open.",
            labels,
        ),
    )


@dataclass(slots=True)
class _Partition:
    tracked_since: Millis
    next_offset: int | None = None  # None: not known yet
    end: int = 0  # highest stable offset seen
    complete_as_of: Millis | None = None  # everything that the broker had at this time is processed
    open_offset: int | None = None  # first offset of an open transaction; None: nothing is held back
    open_since: int = 0  # ms; time of the broker's first answer with this `open_offset`
    open_ms: int = 0


class Lag:
    """The lag of each tracked partition, from what the consumer knows of its fetches. Sends no requests."""

    def __init__(self, consumer: AIOKafkaConsumer, gauges: LagGauges) -> None:
        self._consumer, self._gauges = consumer, gauges
        self._partitions: dict[TopicPartition, _Partition] = {}

    def track(self, partitions: Iterable[TopicPartition]) -> None:
        """Shows exactly these partitions from now on. A partition that was tracked before keeps its state."""
        known = self._partitions
        self._partitions = {partition: known.get(partition) or _Partition(_now()) for partition in partitions}
        functions = self.records, self.seconds, self.open_transaction_seconds
        for gauge, function in zip(self._gauges, functions, strict=True):
            gauge.clear()
            for partition in self._partitions:
                gauge.labels(partition.topic, partition.partition).set_function(partial(function, partition))

    async def advance(self, partition: TopicPartition, next_offset: int, newest: Millis | None) -> None:
        """Records that everything fetched so far is processed. The partition must be assigned.

        Args:
            partition: A tracked partition; others are ignored.
            next_offset: The next offset to process, at least.
            newest: Kafka's timestamp of the last processed record.
        """
        if (state := self._partitions.get(partition)) is None:
            return
        state.next_offset = max(next_offset, await self._consumer.position(partition))
        answered: int | None = self._consumer.last_poll_timestamp(partition)
        if answered is not None and (newest is not None or not self.records(partition)):
            behind = self.records(partition)
            complete = min(newest, answered) if newest is not None and behind else answered
            state.complete_as_of = Millis(max(state.complete_as_of or 0, complete))

    def halt(self, partition: TopicPartition, next_offset: int, end: int) -> None:
        """Records that the partition is no longer read from `next_offset` on, though it goes on to `end`."""
        if state := self._partitions.get(partition):
            state.next_offset, state.end = next_offset, max(state.end, end)

    def records(self, partition: TopicPartition) -> int:
        """Returns the number of offsets that wait, 0 while it is not known."""
        if (state := self._partitions.get(partition)) is None or state.next_offset is None:
            return 0
        if partition in self._consumer.assignment():
            state.end = max(state.end, self._consumer.last_stable_offset(partition) or 0)
        return max(0, state.end - state.next_offset)

    def seconds(self, partition: TopicPartition) -> float:
        """Returns the seconds since the partition was last complete, 0 if no record waits."""
        state = self._partitions.get(partition)
        if state is None or not self.records(partition):
            return 0.0
        return max(0, _now() - (state.complete_as_of or state.tracked_since)) / 1000

    def open_transaction_seconds(self, partition: TopicPartition) -> float:
        """Returns the seconds that the last stable offset has not moved although there are records after it.

        The time runs between answers of the broker, so it does not grow while the broker is unavailable. A
        stable offset that is the same in two answers has not moved in between.
        """
        if (state := self._partitions.get(partition)) is None:
            return 0.0
        consumer = self._consumer
        assigned = partition in consumer.assignment()
        answered = consumer.last_poll_timestamp(partition) if assigned else None
        if answered is not None:
            stable = consumer.last_stable_offset(partition)
            open_offset = stable if stable < consumer.highwater(partition) else None
            if open_offset is None or open_offset != state.open_offset:
                state.open_offset, state.open_since = open_offset, answered
            state.open_ms = max(0, answered - state.open_since)
        return state.open_ms / 1000


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
