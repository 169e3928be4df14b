"""The recorder's loop: transfers in, balances out, each batch of a partition in a Kafka transaction."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Collection, Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.recorder import metrics
from livebalance.recorder.partition import Partition
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.errors import Fate, fate_of
from livebalance.runtime.kafka.fetch import Fetched, fetch
from livebalance.runtime.kafka.lag import Lag
from livebalance.runtime.kafka.reader import offsets_for_time
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.stall_detector import EndOffsets, PartitionProgress, StallDetector
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import Lane
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import millis

_POLL_SECONDS = 0.2
_PAUSE_SECONDS = 0.02  # after a batch: small transactions cost the broker as much as large transactions
_MAX_BACKOFF_SECONDS = 5.0

_log = logs.get("recorder")


class Recorder:
    """Owns the partitions that its consumer group assigns, each with its own producer and ledger."""

    def __init__(
        self,
        settings: RecorderSettings,
        values: Values,
        consumer: AIOKafkaConsumer,
        assignments: RebalanceListener,
    ) -> None:
        self._settings, self._consumer, self._assignments = settings, consumer, assignments
        self._values = values
        self._owned: dict[TopicPartition, Partition] = {}
        self._lag = Lag(consumer, metrics.lag)
        self._tracked = frozenset[TopicPartition]()
        self._failures = 0  # in a row
        self._stall_detector = StallDetector(self, time.monotonic())
        self.iterations = 0  # that have ended, successfully or not

    async def run(self, stopping: asyncio.Event) -> None:
        """Runs until `stopping` is set.

        Raises:
            StalledError: The loop makes no progress, so the process must end.
            StartupError: The topic lacks transfers that were not applied yet.
            Exception: Any other exception is a bug.
        """
        try:
            async with self._stall_detector.watch():
                while not stopping.is_set():
                    await self._iterate(stopping)
                    self.iterations += 1
        finally:
            await self._release(list(self._owned))

    async def _iterate(self, stopping: asyncio.Event) -> None:
        assignment, failures = self._assignments.number, self._failures
        await self._claim_assigned(assignment)
        batches = await self._poll(assignment)
        await asyncio.gather(*(self._record(partition, batch) for partition, batch in batches.items()))
        await self._update_metrics(assignment)
        if self._failures > failures:
            await self._back_off(stopping)
        elif batches:
            self._failures = 0
            await asyncio.sleep(_PAUSE_SECONDS)

    def unready_reason(self) -> str | None:
        """Returns why the recorder is not ready, or None. Probe of /readyz."""
        assigned = self._consumer.assignment() if self._assignments.settled else None
        if assigned is None:
            return "no assignment yet"
        if assigned != self._owned.keys():
            return "partitions not claimed yet"
        return self._stall_detector.unready_reason

    def stalled_reason(self) -> str | None:
        """Returns why only a new process helps, or None. Probe of /livez."""
        return self._stall_detector.stalled_reason

    def partition_progress(self) -> dict[TopicPartition, PartitionProgress]:
        """Returns the progress of the owned partitions; empty during a claim, which can take long."""
        owned = self._owned
        if not all(self._assignments.is_current(partition.assignment) for partition in owned.values()):
            return {}
        if not owned.keys() <= self._consumer.assignment():
            return {}
        return {
            at: PartitionProgress(self._consumer.last_poll_timestamp(at), partition.next_offset)
            for at, partition in owned.items()
        }

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> EndOffsets:
        """Asks the broker for the last stable offsets. Called by the stall detector."""
        ends: EndOffsets = await self._consumer.end_offsets(partitions)
        return ends

    async def _claim_assigned(self, assignment: int) -> None:
        """Claims assigned partitions, releases the rest, and seeks to each partition's next offset."""
        if not self._assignments.is_current(assignment):
            return
        assigned: set[TopicPartition] = self._consumer.assignment()
        self._track_lag(assigned)
        await self._release(self._owned.keys() - assigned)
        await asyncio.gather(*map(self._claim, assigned - self._owned.keys()))
        for at, partition in self._owned.items():
            if partition.assignment != assignment and self._assignments.is_current(assignment):
                self._consumer.seek(at, partition.next_offset)
                partition.assignment = assignment

    async def _poll(self, assignment: int) -> Fetched:
        """Fetches records of partitions that are claimed. Discards them if the assignment has changed."""
        claimed = [at for at, partition in self._owned.items() if partition.assignment == assignment]
        if not claimed or not self._assignments.is_current(assignment):
            await asyncio.sleep(_POLL_SECONDS / 4)
            return {}
        wait_ms = int(_POLL_SECONDS * 1000)
        batches = await fetch(self._consumer, claimed, wait_ms, self._settings.batch_records)
        return batches if self._assignments.is_current(assignment) else {}

    async def _claim(self, at: TopicPartition) -> None:
        partition = self._owned[at] = Partition(self._settings, self._values, Lane(at.partition))
        if await self._try_step(at, partition.claim(lambda: self._start_offset(at))):
            _log.info("partition claimed", partition=at.partition, next_offset=partition.next_offset)

    async def _record(self, at: TopicPartition, batch: list[RawRecord]) -> None:
        await self._try_step(at, self._owned[at].record(batch))

    async def _try_step(self, at: TopicPartition, step: Awaitable[None]) -> bool:
        """Returns whether the step succeeded. Releases the partition after an error, and raises a bug."""
        try:
            await step
        except Exception as error:
            fate = fate_of(error)
            if fate is Fate.BUG:
                raise
            _log.warning("partition released", partition=at.partition, fate=fate.value, error=repr(error))
            metrics.releases.labels(fate.value).inc()
            if fate is Fate.FENCED:
                metrics.fenced.inc()
            self._failures += 1
            await self._release([at])
            return False
        return True

    async def _start_offset(self, at: TopicPartition) -> int:
        """Returns the group's offset, or the configured start. Raises StartupError if the topic lacks it."""
        committed: int | None = await self._consumer.committed(at)
        first: int = (await self._consumer.beginning_offsets([at]))[at]
        end: int = (await self._consumer.end_offsets([at]))[at]
        if committed is None:
            return await self._configured_start(at, first)
        if not first <= committed <= end:
            raise StartupError(
                f"{at.topic}/{at.partition} holds {first}..{end} but {committed} comes next: history was lost"
            )
        return committed

    async def _configured_start(self, at: TopicPartition, first: int) -> int:
        start = self._settings.start_from
        if start == "beginning":
            return first
        return (await offsets_for_time(self._consumer, [at], millis(start)))[at]

    def _track_lag(self, partitions: Collection[TopicPartition]) -> None:
        if self._tracked == partitions:
            return
        self._tracked = frozenset(partitions)
        self._lag.track(partitions)

    async def _update_metrics(self, assignment: int) -> None:
        metrics.partitions.set(len(self._owned))
        for at, partition in self._owned.items():
            if partition.assignment == assignment and self._assignments.is_current(assignment):
                await self._lag.advance(at, partition.next_offset, partition.newest)

    async def _release(self, partitions: Iterable[TopicPartition]) -> None:
        await asyncio.gather(*(self._owned.pop(at).release() for at in partitions))

    async def _back_off(self, stopping: asyncio.Event) -> None:
        longest = min(_MAX_BACKOFF_SECONDS, 0.2 * 2 ** min(self._failures, 10))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), random.uniform(longest / 4, longest))
