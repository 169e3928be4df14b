"""The loop: transfers in, balances out, each batch of a partition in one Kafka transaction."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Collection, Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from livebalance.recorder import metrics
from livebalance.recorder.partition import Partition
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.errors import Fate, fate_of
from livebalance.runtime.kafka.fetch import Fetched, fetch
from livebalance.runtime.kafka.lag import Lag
from livebalance.runtime.kafka.reader import offsets_since
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.stall_detector import Ends, PartitionProgress, StallDetector
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import Lane
from livebalance.wire.timestamp import millis

_POLL_SECONDS = 0.2
_PAUSE_SECONDS = 0.02  # after each round: a transaction of few records costs the broker as much as of many
_MAX_BACKOFF = 5.0  # seconds

_log = logs.get("recorder")


class Recorder:
    """Owns the partitions its group assigns to it, each by a producer and a ledger of its own."""

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
        self._followed = frozenset[TopicPartition]()
        self._failures = 0  # in a row
        self._progress = StallDetector(self, time.monotonic())
        self.turns = 0  # ended, well or badly

    async def run(self, stopping: asyncio.Event) -> None:
        """Until told to stop, or a bug. Raises StalledError; RefusedError when Kafka lacks what was there."""
        try:
            async with self._progress.watched():
                while not stopping.is_set():
                    await self._turn(stopping)
                    self.turns += 1
        finally:
            await self._release(list(self._owned))

    async def _turn(self, stopping: asyncio.Event) -> None:
        number, failures = self._assignments.number, self._failures
        await self._own(number)
        batches = await self._poll(number)
        await asyncio.gather(*(self._record(at, batch) for at, batch in batches.items()))
        await self._measure(number)
        if self._failures > failures:
            await self._back_off(stopping)
        elif batches:
            self._failures = 0
            await asyncio.sleep(_PAUSE_SECONDS)

    def unready(self) -> str | None:
        """Why this process does not do all its work, for a probe."""
        assigned = self._consumer.assignment() if self._assignments.settled else None
        if assigned is None:
            return "no assignment yet"
        return self._progress.suspicion if assigned == self._owned.keys() else "partitions not claimed yet"

    def stalled(self) -> str | None:
        """Why only a new process helps, for a probe."""
        return self._progress.stalled

    def places(self) -> dict[TopicPartition, PartitionProgress]:
        """Where it stands in each partition that it reads; none while one is claimed, which may take long."""
        if not all(self._assignments.is_current(partition.sought) for partition in self._owned.values()):
            return {}
        mine = self._owned.items() if self._owned.keys() <= self._consumer.assignment() else ()
        return {
            at: PartitionProgress(self._consumer.last_poll_timestamp(at), partition.next)
            for at, partition in mine
        }

    async def ends(self, of: Collection[TopicPartition]) -> Ends:
        ends: Ends = await self._consumer.end_offsets(of)
        return ends

    async def _own(self, number: int) -> None:
        """Owns what is assigned and nothing else; the consumer stands at each partition's own next offset."""
        if not self._assignments.is_current(number):
            return
        assigned: set[TopicPartition] = self._consumer.assignment()
        self._follow(assigned)
        await self._release(self._owned.keys() - assigned)
        await asyncio.gather(*map(self._claim, assigned - self._owned.keys()))
        for at, partition in self._owned.items():
            if partition.sought != number and self._assignments.is_current(number):
                self._consumer.seek(at, partition.next)
                partition.sought = number

    async def _poll(self, number: int) -> Fetched:
        """What the partitions ready under this assignment have; under another it is thrown away."""
        ready = [at for at, partition in self._owned.items() if partition.sought == number]
        if not ready or not self._assignments.is_current(number):
            await asyncio.sleep(_POLL_SECONDS / 4)
            return {}
        batches = await fetch(self._consumer, ready, int(_POLL_SECONDS * 1000), self._settings.batch_records)
        return batches if self._assignments.is_current(number) else {}

    async def _claim(self, at: TopicPartition) -> None:
        partition = self._owned[at] = Partition(self._settings, self._values, Lane(at.partition))
        if await self._succeeds(at, partition.claim(lambda: self._committed(at))):
            _log.info("claimed", partition=at.partition, next=partition.next)

    async def _record(self, at: TopicPartition, batch: list[ConsumerRecord]) -> None:
        await self._succeeds(at, self._owned[at].record(batch))

    async def _succeeds(self, at: TopicPartition, step: Awaitable[None]) -> bool:
        """Decides the fate of an error: but for a bug, the partition is given up and claimed anew."""
        try:
            await step
        except Exception as error:
            fate = fate_of(error)
            if fate is Fate.BUG:
                raise
            _log.warning("partition given up", partition=at.partition, fate=fate.value, error=repr(error))
            metrics.given_up.labels(fate.value).inc()
            if fate is Fate.FENCED:
                metrics.fenced.inc()
            self._failures += 1
            await self._release([at])
            return False
        return True

    async def _committed(self, at: TopicPartition) -> int:
        """The group's offset, or where to begin. Raises RefusedError for one the topic does not have."""
        committed: int | None = await self._consumer.committed(at)
        first: int = (await self._consumer.beginning_offsets([at]))[at]
        end: int = (await self._consumer.end_offsets([at]))[at]
        if committed is None:
            return await self._begin(at, first)
        if not first <= committed <= end:
            raise StartupError(
                f"{at.topic}/{at.partition} holds {first}..{end} but {committed} comes next: history was lost"
            )
        return committed

    async def _begin(self, at: TopicPartition, first: int) -> int:
        start = self._settings.start_from
        if start == "beginning":
            return first
        return (await offsets_since(self._consumer, [at], millis(start)))[at]

    def _follow(self, partitions: Collection[TopicPartition]) -> None:
        """How far these are behind is shown from now on, and of no others."""
        if self._followed == partitions:
            return
        self._followed = frozenset(partitions)
        self._lag.follow(partitions)

    async def _measure(self, number: int) -> None:
        metrics.partitions.set(len(self._owned))
        for at, partition in self._owned.items():
            if partition.sought == number and self._assignments.is_current(number):
                await self._lag.done(at, partition.next, partition.newest)

    async def _release(self, partitions: Iterable[TopicPartition]) -> None:
        await asyncio.gather(*(self._owned.pop(at).release() for at in partitions))

    async def _back_off(self, stopping: asyncio.Event) -> None:
        most = min(_MAX_BACKOFF, 0.2 * 2 ** min(self._failures, 10))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), random.uniform(most / 4, most))
