"""The projector's loop: fetch, decode, fold, write in a transaction, commit offsets, publish.

After a transient error or a fence, the loop releases its lanes and claims them again (decision 8).
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from aiokafka import TopicPartition

from livebalance.projector import metrics
from livebalance.projector.after_commit import AfterCommit
from livebalance.projector.errors import AlreadyListedError, CommitUnknownError, FencedError, fate_of
from livebalance.projector.fold.erasures import overtaken_erasures
from livebalance.projector.fold.fold import (
    FoldResult,
    TransferKey,
    batch_rows,
    fold,
    keys_named_by_balances,
    replay,
    transfer_keys,
)
from livebalance.projector.fold.lane import DecodedRecords, LaneStep, OwnedLane, lifecycle_step, step
from livebalance.projector.fold.records import Incoming
from livebalance.projector.fold.sets import SetIndex
from livebalance.projector.kafka.consumer import LaneConsumer, Records
from livebalance.projector.kafka.lifecycle import LifecycleConsumer
from livebalance.projector.postgres.claim import claim_lanes, halt_changed_topics
from livebalance.projector.postgres.reconciliation import Reconciliation
from livebalance.projector.postgres.replay import QuarantineReplay
from livebalance.projector.postgres.set_counter import SetCounter
from livebalance.projector.postgres.state_cache import StateCache
from livebalance.projector.postgres.store import Store
from livebalance.projector.postgres.upkeep import Upkeep
from livebalance.projector.read_ahead import FetchedLane, ReadAhead
from livebalance.projector.redis.messages import NO_TOTALS, Message, MessageEncoder
from livebalance.projector.redis.publisher import Publisher
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import LaneMove, ReplayOutcome
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.kafka.stall_detector import EndOffsets, PartitionProgress, StallDetector
from livebalance.runtime.schema.values import Values
from livebalance.runtime.schema.waiting_lanes import WaitingLanes
from livebalance.wire.identity import Lane
from livebalance.wire.sets.batch import LaneBatch
from livebalance.wire.timestamp import Millis

_PROGRESS_SECONDS = 1.0  # between two writes of the lanes' progress
_MAX_BACKOFF_SECONDS = 5.0
_PIECE = 50  # messages that are encoded without a pause: half a millisecond

_log = logs.get("projector")


class UnknownCommit(NamedTuple):
    """A batch whose COMMIT was not answered, and the messages to publish if it was committed."""

    moves: Sequence[LaneMove]
    messages: list[Message]


class Projector:
    """Applies the records of the lanes that Kafka assigns to this process."""

    def __init__(
        self, settings: ProjectorSettings, consumer: LaneConsumer, store: Store, publisher: Publisher
    ) -> None:
        self._settings, self._consumer, self._store, self._publisher = settings, consumer, store, publisher
        self._after_commit = AfterCommit(consumer, publisher)
        self._state_cache = StateCache(store, settings.cache_accounts, settings.currency)
        self._set_counter = SetCounter(settings)
        self._upkeep = Upkeep(settings)
        self._stall_detector = StallDetector(self, time.monotonic())
        self._encoder = MessageEncoder(
            settings.channel_prefix,
            settings.transfers_topic,
            settings.currency,
            int(settings.catch_up_threshold_seconds * 1000),
            settings.signing_key(),
            settings.delta_positions,
        )
        self._values = Values(settings)
        self._waiting = WaitingLanes(self._values)
        self._read_ahead = ReadAhead(consumer, self._values, settings.max_scale)
        self._reconciliation = Reconciliation(settings, self._values)
        self._quarantine_replay = QuarantineReplay(settings, store, self._values)
        self._lanes: dict[Lane, OwnedLane] | None = None  # None: not claimed
        self._sets = SetIndex()  # the sets whose totals each batch changes
        self._assignment_number = -1  # under which the lanes were claimed
        self._unknown_commit: UnknownCommit | None = None
        self._progress_written_at = 0.0
        self._failures = 0  # consecutive
        self.iterations = 0  # of the loop, including those that failed

    async def run(self, stopping: asyncio.Event) -> None:
        """Runs the loop until `stopping` is set.

        Raises:
            StalledError: the loop hangs although records wait.
            StartupError: the topics' partition count differs from the projection's.
            Exception: any other error that is a bug.
        """
        async with (
            self._stall_detector.watch(),
            contextlib.aclosing(self._set_counter),
            contextlib.aclosing(self._upkeep),
            contextlib.aclosing(self._reconciliation),
            contextlib.aclosing(self._read_ahead),
        ):
            while not stopping.is_set():
                try:
                    await self._run_iteration()
                    self._failures = 0
                except Exception as error:
                    await self._recover(error, stopping)
                self.iterations += 1
            await self._after_commit.done()
        self._waiting.clear()

    def unready_reason(self) -> str | None:
        """Returns why the process does not advance, or None. For `/readyz`.

        A projector without lanes is ready if the group has more projectors than lanes.
        """
        if self._consumer.awaits_assignment:
            return "no assignment from the group yet"
        if self._lanes is None or self._assignment_number != self._consumer.assignment_number:
            return "no lanes claimed"
        if not self._lanes and not self._consumer.is_idle:
            return "none of the assigned partitions is a lane of the projection"
        if self._stall_detector.unready_reason is None and self._consumer.topic_watch.is_stale:
            return "kafka does not say whether the topics have changed"
        return self._stall_detector.unready_reason

    def halted_reason(self) -> str | None:
        """Returns why a lane of this process is halted, or None. For `/readyz`."""
        halted = (lane for lane in (self._lanes or {}).values() if lane.halted_why is not None)
        return next((f"lane {lane.lane} is halted: {lane.halted_why}" for lane in halted), None)

    def stalled_reason(self) -> str | None:
        """Returns why the process must be restarted, or None. For `/livez`."""
        return self._stall_detector.stalled_reason

    def partition_progress(self) -> dict[TopicPartition, PartitionProgress]:
        """Returns the position in each partition that the loop reads. Called by the stall detector."""
        if self._lanes is None or self._assignment_number != self._consumer.assignment_number:
            return {}
        return self._consumer.partition_progress(self._reading_lanes().values())

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> EndOffsets:
        """Requests the end of each partition from the broker. Called by the stall detector."""
        return await self._consumer.end_offsets(partitions)

    async def _run_iteration(self) -> None:
        if self._lanes is None or self._assignment_number != self._consumer.assignment_number:
            await self._claim()
            await self._replay()  # before the records that follow in Kafka
        for lane in self._waiting.pop_ready():
            self._consumer.resume(lane)
        lifecycle = self._consumer.lifecycle
        if lifecycle is not None and lifecycle.any_behind:
            await self._apply_lifecycle(lifecycle)
        reading = self._reading_lanes()
        fetched = await self._read_ahead.read(reading)
        if self._assignment_number != self._consumer.assignment_number:
            return  # fetched under another assignment, at any offset (docs/guarantees.md#assignment)
        if steps := self._steps(fetched):
            await self._apply(steps, reads_ahead=True)
        if lifecycle is not None and not lifecycle.any_behind:
            await self._apply_lifecycle(lifecycle)  # after the balance that was written with each record
        if (
            self._is_progress_due()
            and not self._read_ahead.is_ahead  # a lane is complete only up to the records that are applied
            and self._assignment_number == self._consumer.assignment_number
        ):
            await self._write_progress()
            await self._replay()

    def _is_progress_due(self) -> bool:
        return time.monotonic() - self._progress_written_at >= _PROGRESS_SECONDS

    async def _claim(self) -> None:
        self._lanes, number = None, self._consumer.assignment_number
        self._waiting.clear()
        await self._read_ahead.aclose()
        await self._after_commit.done()
        lanes = await claim_lanes(self._settings, self._consumer, self._store)
        self._state_cache.clear()
        # After the claim: the totals of the lanes are of sets that are followed since before it.
        self._sets = SetIndex((await self._store.followed_sets()).since)
        self._lanes, self._assignment_number = lanes, number
        self._show_lanes()
        metrics.set_epochs(lane.epoch for lane in lanes.values())
        await self._resolve_unknown_commit()

    async def _resolve_unknown_commit(self) -> None:
        """Publishes the messages of a batch whose COMMIT was not answered, if it was committed.

        The claim waited for the lock of the lane's row, so the outcome is known (decision 8).
        """
        batch, self._unknown_commit = self._unknown_commit, None
        lanes = self._lanes or {}
        if batch is not None and all(_was_committed(move, lanes.get(move.lane)) for move in batch.moves):
            await self._publisher.publish(batch.messages)

    def _running_lanes(self) -> dict[Lane, OwnedLane]:
        return {id_: lane for id_, lane in (self._lanes or {}).items() if lane.halted_why is None}

    def _reading_lanes(self) -> dict[Lane, OwnedLane]:
        lifecycle = self._consumer.lifecycle
        return {
            id_: lane
            for id_, lane in self._running_lanes().items()
            if id_ not in self._waiting and not (lifecycle and lifecycle.is_behind(id_))
        }

    def _steps(self, fetched: Sequence[FetchedLane]) -> list[LaneStep]:
        """Returns the steps of the lanes. Leaves out lanes that the batch before has halted."""
        steps, reading = list[LaneStep](), self._reading_lanes()
        for lane_id, records, statuses, decoded in fetched:
            if (lane := reading.get(lane_id)) is None:
                continue
            if decoded is None:
                self._wait_for_schemas(lane, records)
            else:
                steps.append(step(lane, decoded, statuses, self._settings.max_consecutive_rejects))
        return steps

    def _wait_for_schemas(self, lane: OwnedLane, records: tuple[Records, Records]) -> None:
        """Lets a lane wait until its records can be decoded. They are fetched again then."""
        self._consumer.hold_back(lane)
        self._waiting.add(lane.lane, [record.value for side in records for record in side])

    async def _idle_step(self, lane: OwnedLane) -> LaneStep:
        """Returns a step without records. Nothing may be read ahead: the lane would seem complete."""
        statuses = await self._consumer.fetch_statuses(lane.lane)
        return step(lane, DecodedRecords(), statuses, self._settings.max_consecutive_rejects)

    async def _apply_lifecycle(self, lifecycle: LifecycleConsumer) -> None:
        """Applies openings and erasures."""
        running = self._running_lanes()
        fetched = await lifecycle.fetch(running.keys())
        rejects, max_scale = self._settings.max_consecutive_rejects, self._settings.max_scale
        steps = [
            lifecycle_step(running[lane], records, rejects, max_scale=max_scale)
            for lane, records in fetched.items()
        ]
        if steps:
            await self._apply(steps)
        await lifecycle.update_behind()

    async def _apply(self, steps: Sequence[LaneStep], *, reads_ahead: bool = False) -> None:
        batch = [record for lane_step in steps for record in lane_step.records]
        try:  # assume that every transfer is new (decision 9)
            folded = await self._fold(batch, keys_named_by_balances(batch))
            if reads_ahead and not self._is_progress_due():
                self._read_ahead.start(self._reading_lanes())
            await self._write(steps, folded)
        except AlreadyListedError:
            folded = await self._fold(batch, transfer_keys(batch))
            await self._write(steps, folded, all_looked_up=True)
        await self._record_applied(lane_step.lane for lane_step in steps)
        lanes = [lane_step.lane for lane_step in steps]
        self._pause_halted([lane for lane in lanes if lane.halted_why is not None])

    async def _replay(self) -> None:
        """Applies the records that an operator has marked for replay. Moves no lane."""
        marked = await self._quarantine_replay.read(list(self._running_lanes()))
        batch = [record for _, record in marked]
        running = self._running_lanes()
        steps = [await self._idle_step(running[lane]) for lane in {record.lane for record in batch}]
        if steps:
            accounts = await self._state_cache.accounts(batch)
            listed = await self._state_cache.listed_transfers(transfer_keys(batch))
            folded, outcomes = replay(batch, accounts, listed, _cut_lanes(self._lanes or {}))
            ids = [id_ for id_, _ in marked]
            replayed = list(zip(ids, outcomes, strict=True))
            await self._write(steps, folded, replayed, all_looked_up=True)

    async def _write(
        self,
        steps: Sequence[LaneStep],
        folded: FoldResult,
        replayed: Sequence[tuple[int, ReplayOutcome]] = (),
        *,
        all_looked_up: bool = False,
    ) -> None:
        currency = self._settings.currency
        rows = batch_rows(steps, folded, currency, replayed, all_looked_up=all_looked_up, sets=self._sets)
        encoding = asyncio.create_task(self._encode(steps, folded))
        try:
            with metrics.batch_seconds.labels("write").time():
                kept = await self._store.write(rows)
        except CommitUnknownError:
            # A replay does not move its lanes, so a claim cannot show its outcome. Gateways find the gap.
            if not replayed:
                deltas, batches = await encoding
                messages = deltas + self._encoder.batch_messages(batches, NO_TOTALS)
                self._unknown_commit = UnknownCommit(rows.moves, messages)
            raise
        deltas, batches = await encoding
        messages = deltas + self._encoder.batch_messages(batches, kept)
        changed = folded.changed_lanes
        for lane_step in steps:
            lane_step.advance_lane()
            lane_step.lane.batches += lane_step.lane.lane in changed
        self._state_cache.store(folded)
        metrics.count_batch(folded, [outcome for _, outcome in replayed])
        await self._after_commit.start([lane_step.lane for lane_step in steps], messages)

    async def _encode(
        self, steps: Sequence[LaneStep], folded: FoldResult
    ) -> tuple[list[Message], list[LaneBatch]]:
        """Encodes the deltas of a batch, while Postgres writes it. The lanes must not be moved before.

        The batches of the lanes wait for the totals that Postgres returns.
        """
        messages = list[Message]()
        deltas = self._encoder.deltas(steps, folded, _now())
        while piece := [*islice(deltas, _PIECE)]:
            messages += piece
            if len(piece) == _PIECE:
                await asyncio.sleep(0)  # the loop goes on to send the batch to Postgres
        return messages, self._encoder.batches(steps, folded, _now())

    async def _halt_changed_topics(self) -> None:
        lanes, identities = self._running_lanes().values(), self._consumer.topic_watch.identities
        self._pause_halted(await halt_changed_topics(lanes, identities, self._store))

    def _pause_halted(self, halted: Sequence[OwnedLane]) -> None:
        for lane in halted:
            _log.error("lane halted", lane=lane.lane, reason=lane.halted_why)
            self._consumer.pause(lane)
        self._show_lanes()

    async def _record_applied(self, lanes: Iterable[OwnedLane]) -> None:
        if self._assignment_number == self._consumer.assignment_number and not self._read_ahead.is_ahead:
            await self._consumer.record_applied(lanes)

    def _show_lanes(self) -> None:
        running = len(self._running_lanes())
        metrics.lanes.labels("running").set(running)
        metrics.lanes.labels("halted").set(len(self._lanes or {}) - running)

    async def _show_totals(self) -> None:
        """Shows the numbers of accounts of the lanes, and starts the work that their rows ask for."""
        lanes = self._lanes or {}
        totals = await self._store.totals(list(lanes))
        metrics.set_totals(totals, _now())
        followed = await self._store.followed_sets()
        self._sets = SetIndex(followed.since)
        metrics.followed_sets.set(len(followed.since))
        await self._set_counter.start(followed, list(lanes.values()))
        await self._upkeep.start(
            [lanes[id_] for id_ in totals.uncounted], [lanes[id_] for id_ in totals.erasing]
        )
        if self._settings.reconciliation_rate:
            running = self._running_lanes()
            metrics.set_differences(await self._store.differences(list(running)), _now())
            await self._reconciliation.start(list(running.values()))

    async def _fold(self, batch: Sequence[Incoming], keys: set[TransferKey]) -> FoldResult:
        with metrics.batch_seconds.labels("load").time():
            accounts = await self._state_cache.accounts(batch)
            listed = await self._state_cache.listed_transfers(keys)
            survivors = await self._store.listed_since(overtaken_erasures(batch, accounts))
        with metrics.batch_seconds.labels("fold").time():
            transfers_next = {id_: lane.transfers.next for id_, lane in (self._lanes or {}).items()}
            return fold(
                batch, accounts, listed, _cut_lanes(self._lanes or {}), transfers_next, survivors=survivors
            )

    async def _write_progress(self) -> None:
        """Writes how far each lane is complete to Postgres, fenced, and publishes it."""
        self._progress_written_at = time.monotonic()
        await self._after_commit.done()
        await self._halt_changed_topics()
        steps = [await self._idle_step(lane) for lane in self._running_lanes().values()]
        await self._store.move_lanes([lane_step.move for lane_step in steps])
        await self._publisher.publish(self._encoder.progress(steps, _now()))
        await self._record_applied(self._running_lanes().values())
        await self._show_totals()
        running = self._running_lanes()
        if await self._store.any_continued([id_ for id_ in self._lanes or {} if id_ not in running]):
            self._lanes = None  # the next iteration claims them, and reads from the offsets in their rows

    async def _recover(self, error: Exception, stopping: asyncio.Event) -> None:
        """Releases the lanes and backs off, so that they are claimed again. Raises `error` if it is a bug."""
        fate = fate_of(error)
        if fate is Fate.BUG:
            raise error
        metrics.lane_releases.labels(fate.value).inc()
        if isinstance(error, FencedError):
            metrics.fenced.inc()
        _log.warning("lanes released", fate=fate.value, error=repr(error))
        self._lanes = None
        self._show_lanes()
        if fate is Fate.TRANSIENT:
            self._store.drop()
        self._failures += 1
        longest = min(_MAX_BACKOFF_SECONDS, 0.1 * 2 ** min(self._failures, 10))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), random.uniform(longest / 4, longest))


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


def _cut_lanes(lanes: Mapping[Lane, OwnedLane]) -> set[Lane]:
    """Returns the lanes that were not read from their start."""
    return {id_ for id_, lane in lanes.items() if not lane.from_start}


def _was_committed(move: LaneMove, lane: OwnedLane | None) -> bool:
    """Returns whether `move` was committed: `lane`, just claimed again, is at its end.

    If the generation grew by more than 1, another process has claimed the lane in between.
    """
    if lane is None or (lane.lifecycle and move.lifecycle_next not in (None, lane.lifecycle.next)):
        return False
    return (lane.generation, lane.transfers.next, lane.balances.next) == (
        move.generation + 1,
        move.transfers_to,
        move.balances_to,
    )
