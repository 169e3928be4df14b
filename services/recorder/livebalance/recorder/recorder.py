"""The recorder's loop: transfers in, balances out, each batch of a partition in a Kafka transaction."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Collection, Iterable, Mapping
from functools import partial

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from livebalance.readmodel.rows import SourceIdentity
from livebalance.recorder import metrics
from livebalance.recorder.checkpoint import AccountStorage
from livebalance.recorder.claims import Claims, back_off_seconds
from livebalance.recorder.errors import fate_of
from livebalance.recorder.halt import NO_ID, HaltedError, partitions_reason, topics_reason
from livebalance.recorder.partition import Offsets, Partition
from livebalance.recorder.settings import RecorderSettings
from livebalance.recorder.store import Store
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.kafka.fetch import Fetched, collect, fetch
from livebalance.runtime.kafka.lag import Lag
from livebalance.runtime.kafka.raw_records import UnreadableRecordError
from livebalance.runtime.kafka.reader import offsets_for_time
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.stall_detector import EndOffsets, PartitionProgress, StallDetector
from livebalance.runtime.kafka.topic_identity import TopicIdentity
from livebalance.runtime.kafka.topic_watch import TopicWatch
from livebalance.runtime.schema.values import Values
from livebalance.runtime.schema.waiting_lanes import WaitingLanes
from livebalance.wire.identity import Lane
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import Millis, millis

_POLL_SECONDS = 0.2
_COLLECT_MS = 20  # before a batch that follows another: a small transaction costs as much as a large one
_OPERATOR_SECONDS = 1.0  # between two looks for halted partitions that an operator has let continue

_log = logs.get("recorder")


class Recorder:
    """Owns the partitions that its consumer group assigns, each with its own producer and ledger."""

    def __init__(
        self,
        settings: RecorderSettings,
        values: Values,
        store: Store,
        consumer: AIOKafkaConsumer,
        *,
        assignments: RebalanceListener,
        topics: TopicWatch,
        storage: AccountStorage,
    ) -> None:
        self._settings, self._consumer, self._assignments = settings, consumer, assignments
        self._values, self._store, self._topics = values, store, topics
        self.storage = storage  # of the accounts of partitions that are claimed from now on
        self._owned: dict[TopicPartition, Partition] = {}
        self._claims = Claims()  # of owned partitions
        self._halted: dict[TopicPartition, str] = {}  # assigned, but not owned, with the reason
        self._topics_read_at = Millis(0)  # time at which the last claim has read the identity of the topics
        self._waiting = WaitingLanes(values)  # owned partitions whose records need a schema
        self._lag = Lag(consumer, metrics.lag)
        self._tracked = frozenset[TopicPartition]()
        self._failures = 0  # in a row
        self._stall_detector = StallDetector(self, time.monotonic())
        self.lifecycle_topic: str | None = None  # openings are written to; set before `run`
        self.iterations = 0  # that have ended, successfully or not

    async def run(self, stopping: asyncio.Event) -> None:
        """Runs until `stopping` is set.

        Raises:
            StalledError: The loop makes no progress, so the process must end.
            Exception: Any other exception is a bug.
        """
        resuming = asyncio.create_task(self._resume_continued())
        try:
            async with self._stall_detector.watch():
                while not stopping.is_set():
                    await self._iterate(stopping)
                    self.iterations += 1
                    if resuming.done():
                        await resuming  # raises its bug
        finally:
            resuming.cancel()
            self._waiting.clear()
            await self._claims.cancel(self._claims.under_way)
            await self._release(list(self._owned))

    async def _iterate(self, stopping: asyncio.Event) -> None:
        assignment, failures = self._assignments.number, self._failures
        await self._claim_assigned(assignment)
        await self._halt_if_topics_changed()
        self._resume_waiting()
        batches = self._decodable(await self._poll(assignment))
        idle: Fetched = {at: [] for at in self._claimed(assignment) if self._owned[at].is_save_due}
        await asyncio.gather(*(self._record(at, batch) for at, batch in {**idle, **batches}.items()))
        await self._update_metrics(assignment)
        if self._failures > failures:
            await self._back_off(stopping)
        elif batches:
            self._failures = 0

    def unready_reason(self) -> str | None:
        """Returns why the recorder is not ready, or None. Probe of /readyz."""
        assigned = self._consumer.assignment() if self._assignments.settled else None
        if assigned is None:
            return "no assignment yet"
        if restoring := sorted(self._claims.under_way & self._owned.keys()):
            return "; ".join(
                f"partition {at.partition} is being restored: {self._owned[at].restore_progress}"
                for at in restoring
            )
        if assigned != self._owned.keys() | self._halted.keys():
            return "partitions not claimed yet"
        return self._stall_detector.unready_reason

    def halted_reason(self) -> str | None:
        """Returns which partitions wait for an operator and why, or None. Probe of /readyz."""
        reasons = (f"partition {at.partition} is halted: {why}" for at, why in sorted(self._halted.items()))
        return "; ".join(reasons) or None

    def stalled_reason(self) -> str | None:
        """Returns why only a new process helps, or None. Probe of /livez."""
        return self._stall_detector.stalled_reason

    def partition_progress(self) -> dict[TopicPartition, PartitionProgress]:
        """Returns the progress of the partitions that are recorded; empty after a rebalance."""
        paused = self._paused()
        owned = {at: partition for at, partition in self._owned.items() if at not in paused}
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
        self._claims.end()
        await self._claims.cancel(self._claims.under_way - assigned)
        await self._release(self._owned.keys() - assigned)
        for at in self._halted.keys() - assigned:
            del self._halted[at]
        unclaimed = assigned - self._owned.keys() - self._halted.keys() - self._claims.under_way
        if unclaimed and (identity := await self._read_identity()):
            for at in unclaimed:
                self._owned[at] = self._new_partition(at)
                self._claims.start(at, partial(self._claim, at, identity))
        if self._assignments.is_current(assignment):
            self._consumer.pause(*(paused := self._paused()))  # a rebalance resumes them
            claimed = {at: partition for at, partition in self._owned.items() if at not in paused}
            self._seek([at for at, partition in claimed.items() if partition.assignment != assignment])
            for partition in claimed.values():
                partition.assignment = assignment

    def _new_partition(self, at: TopicPartition) -> Partition:
        lane = Lane(at.partition)
        return Partition(
            self._settings,
            self._values,
            self._store,
            lane,
            storage=self.storage,
            lifecycle_topic=self.lifecycle_topic,
        )

    def _claimed(self, assignment: int) -> list[TopicPartition]:
        """Returns the partitions that are recorded under this assignment."""
        if not self._assignments.is_current(assignment):
            return []
        return [at for at, partition in self._owned.items() if partition.assignment == assignment]

    def _paused(self) -> set[TopicPartition]:
        """Returns the assigned partitions from which nothing is fetched at present."""
        waiting = {at for at in self._owned if Lane(at.partition) in self._waiting}
        return self._halted.keys() | self._claims.under_way | waiting

    def _decodable(self, batches: Fetched) -> Fetched:
        """Returns batches whose schemas are known. The others wait, and are fetched again (decision 15)."""
        for at, batch in list(batches.items()):
            values = [record.value for record in batch]
            if not self._values.knows_schemas(values):
                del batches[at]
                self._consumer.pause(at)
                self._waiting.add(Lane(at.partition), values)
        return batches

    def _resume_waiting(self) -> None:
        lanes = self._waiting.pop_ready()
        self._seek([at for at in self._owned if Lane(at.partition) in lanes])

    def _seek(self, partitions: Iterable[TopicPartition]) -> None:
        for at in partitions:
            self._consumer.seek(at, self._owned[at].next_offset)
            self._consumer.resume(at)

    async def _read_identity(self) -> SourceIdentity | None:
        """Returns the identity of the topics; None if Kafka is unavailable."""
        try:
            identity = self._source_identity(await self._topics.read())
        except Exception as error:
            if fate_of(error) is Fate.BUG:
                raise
            _log.warning("topics not described", error=repr(error))
            self._failures += 1
            return None
        self._topics_read_at = self._topics.read_at
        return identity

    def _source_identity(self, topics: Mapping[str, TopicIdentity]) -> SourceIdentity:
        """Returns the identity of both topics. If their partition counts differ, the greater is the new."""
        names = self._settings.transfers_topic, self._settings.balances_topic
        transfers_id, balances_id = (str(topics[name].id or NO_ID) for name in names)
        return SourceIdentity(max(topics[name].partitions for name in names), transfers_id, balances_id)

    async def _poll(self, assignment: int) -> Fetched:
        """Fetches records of partitions that are claimed. Discards them if the assignment has changed.

        If a partition has no record at its next offset, it is released: the next claim finds out why.
        """
        claimed = [at for at in self._claimed(assignment) if Lane(at.partition) not in self._waiting]
        if not claimed:
            await self._poll_paused(assignment)
            return {}
        wait_ms = int(_POLL_SECONDS * 1000)
        try:
            batches = await collect(
                self._consumer, claimed, wait_ms, self._settings.batch_records, collect_ms=_COLLECT_MS
            )
        except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
            if isinstance(error, OffsetOutOfRangeError):
                _log.warning("next offset not available", error=repr(error))
                await self._release(self._owned.keys() & error.args[0].keys())
            if self._assignments.is_current(assignment):
                self._seek(self._owned.keys() & set(claimed))  # records of others may have been dropped
            return {}
        return batches if self._assignments.is_current(assignment) else {}

    async def _poll_paused(self, assignment: int) -> None:
        """Waits. The group removes a consumer that does not poll for minutes, so it polls what is paused."""
        await asyncio.sleep(_POLL_SECONDS / 4)
        paused = self._paused()
        if paused and self._assignments.is_current(assignment):
            with contextlib.suppress(OffsetOutOfRangeError, NoOffsetForPartitionError):
                await fetch(self._consumer, paused, 0, 1)

    async def _claim(self, at: TopicPartition, identity: SourceIdentity) -> bool:
        """Returns whether the partition is claimed, or waits for an operator."""
        partition = self._owned[at]
        if await self._try_step(at, partition.claim(identity, lambda: self._read_offsets(at))):
            _log.info("partition claimed", partition=at.partition, next_offset=partition.next_offset)
            return True
        return at in self._halted

    async def _record(self, at: TopicPartition, batch: list[RawRecord]) -> None:
        if not await self._try_step(at, self._owned[at].record(batch)) and at not in self._halted:
            self._failures += 1

    async def _try_step(self, at: TopicPartition, step: Awaitable[None]) -> bool:
        """Returns whether the step succeeded. Halts or releases the partition, or raises a bug."""
        try:
            await step
        except (HaltedError, UnreadableRecordError) as halted:
            await self._try_step(at, self._halt(at, str(halted)))
            return False
        except Exception as error:
            fate = fate_of(error)
            if fate is Fate.BUG:
                raise
            _log.warning("partition released", partition=at.partition, fate=fate.value, error=repr(error))
            metrics.releases.labels(fate.value).inc()
            if fate is Fate.FENCED:
                metrics.fenced.inc()
            await self._release([at])
            return False
        return True

    async def _halt(self, at: TopicPartition, reason: str) -> None:
        """Halts a partition: it keeps its offsets, and waits until an operator lets it continue."""
        partition = self._owned[at]
        await self._store.halt_lane(Lane(at.partition), reason, partition.next_offset)
        _log.error("partition halted", partition=at.partition, reason=reason)
        self._halted[at] = reason
        self._lag.halt(at, partition.next_offset, partition.end_offset)
        await self._release([at])

    async def _halt_if_topics_changed(self) -> None:
        identities = self._topics.identities
        if self._topics.read_at <= self._topics_read_at:
            return  # not newer than what the last claim has compared
        now = self._source_identity(identities)
        names = self._settings.transfers_topic, self._settings.balances_topic
        for at in self._owned.keys() - self._claims.under_way:
            known = self._owned[at].identity or now
            if reason := partitions_reason(known, now) or topics_reason(known, now, names):
                await self._try_step(at, self._halt(at, reason))

    async def _resume_continued(self) -> None:
        """Looks again and again, beside the loop, which halted partitions an operator has let continue."""
        while True:
            await asyncio.sleep(_OPERATOR_SECONDS)
            halted = {Lane(at.partition): at for at in self._halted}
            try:
                continued = await self._store.continued_lanes(list(halted)) if halted else []
            except Exception as error:
                if fate_of(error) is Fate.BUG:
                    raise
                _log.warning("halted partitions not checked", error=repr(error))
                continue
            for lane in continued:
                self._halted.pop(halted[lane], None)  # the next iteration claims it

    async def _read_offsets(self, at: TopicPartition) -> Offsets:
        """Asks Kafka for the partition's offsets."""
        committed: int | None = await self._consumer.committed(at)
        first: int = (await self._consumer.beginning_offsets([at]))[at]
        end: int = (await self._consumer.end_offsets([at]))[at]
        start = await self._configured_start(at, first) if committed is None else committed
        balances = TopicPartition(self._settings.balances_topic, at.partition)
        first_balance: int = (await self._consumer.beginning_offsets([balances]))[balances]
        end_of_balances: int = (await self._consumer.end_offsets([balances]))[balances]
        return Offsets(first, end, start, first_balance, end_of_balances)

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
        restoring = len(self._claims.under_way & self._owned.keys())
        metrics.partitions.labels("running").set(len(self._owned) - restoring)
        metrics.partitions.labels("restoring").set(restoring)
        metrics.partitions.labels("halted").set(len(self._halted))
        for at, partition in self._owned.items():
            if partition.assignment == assignment and self._assignments.is_current(assignment):
                await self._lag.advance(at, partition.next_offset, partition.newest)

    async def _release(self, partitions: Iterable[TopicPartition]) -> None:
        partitions = list(partitions)
        for at in partitions:
            self._waiting.remove(Lane(at.partition))
        # A claim that is cancelled while it releases its partition must not leave the file locked.
        await asyncio.shield(asyncio.gather(*(self._owned.pop(at).release() for at in partitions)))

    async def _back_off(self, stopping: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), back_off_seconds(self._failures))
