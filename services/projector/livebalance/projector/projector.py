"""The loop: fetch, decode, fold, one transaction, mark, publish. An error has one of four fates."""

import asyncio
import contextlib
import random
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from aiokafka import TopicPartition

from livebalance.projector import metrics
from livebalance.projector.after_commit import AfterCommit
from livebalance.projector.errors import AlreadyListedError, CommitUnknownError, FencedError, fate_of
from livebalance.projector.fold.fold import FoldResult, Named, batch_rows, fold, named_by, replay, shown_by
from livebalance.projector.fold.lane import LaneStep, OwnedLane, step
from livebalance.projector.fold.records import Incoming
from livebalance.projector.kafka.consumer import LaneConsumer, Records
from livebalance.projector.postgres.claim import claim
from livebalance.projector.postgres.replay import QuarantineReplay
from livebalance.projector.postgres.state_cache import StateCache
from livebalance.projector.postgres.store import Store
from livebalance.projector.redis.messages import Message, MessageEncoder
from livebalance.projector.redis.publisher import Publisher
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import LaneMove, ReplayOutcome
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.kafka.stall_detector import Ends, PartitionProgress, StallDetector
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import Lane
from livebalance.wire.timestamp import Millis

_TELL_SECONDS = 1.0  # how often quiet lanes say how far they are complete
_MAX_BACKOFF = 5.0

_log = logs.get("projector")


class UnknownCommit(NamedTuple):
    """A batch whose COMMIT may have happened, and what is to be published if it did."""

    moves: Sequence[LaneMove]
    news: list[Message]


class Projector:
    """Owns the lanes its group assigns to it."""

    def __init__(
        self, settings: ProjectorSettings, intake: LaneConsumer, store: Store, doorbell: Publisher
    ) -> None:
        self._settings, self._intake, self._store, self._doorbell = settings, intake, store, doorbell
        self._announcer = AfterCommit(intake, doorbell)
        self._standing, self._progress = (
            StateCache(store, settings.cache_accounts),
            StallDetector(self, time.monotonic()),
        )
        self._newsroom = MessageEncoder(
            settings.channel_prefix,
            settings.transfers_topic,
            settings.currency,
            int(settings.catch_up_threshold_seconds * 1000),
        )
        self._values = Values(settings)
        self._marked = QuarantineReplay(settings, store, self._values)
        self._lanes: dict[Lane, OwnedLane] | None = None  # None: to be claimed
        self._number = -1  # of the assignment they were claimed under
        self._unsure: UnknownCommit | None = None
        self._told = 0.0
        self._failures = 0  # in a row
        self.turns = 0  # ended, well or badly

    async def run(self, stopping: asyncio.Event) -> None:
        """Until told to stop. Raises what is a bug, and StalledError."""
        async with self._progress.watched():
            while not stopping.is_set():
                try:
                    await self._turn()
                    self._failures = 0
                except Exception as error:
                    await self._outlive(error, stopping)
                self.turns += 1
            await self._announcer.done()

    def unready(self) -> str | None:
        """Why this process does not do all its work, for a probe."""
        return "no lanes claimed" if self._lanes is None else self._progress.suspicion

    def stalled(self) -> str | None:
        """Why only a new process helps, for a probe."""
        return self._progress.stalled

    def places(self) -> dict[TopicPartition, PartitionProgress]:
        """Where it stands in each partition that it reads."""
        if self._lanes is None or self._number != self._intake.number:
            return {}
        return self._intake.places(self._running().values())

    async def ends(self, of: Collection[TopicPartition]) -> Ends:
        return await self._intake.ends(of)

    async def _turn(self) -> None:
        if self._lanes is None or self._number != self._intake.number:
            await self._claim()
            await self._replay()  # before what comes after it
        running = self._running()
        fetched = await self._intake.fetch(running)
        await self._values.learn(
            record.value for sides in fetched.values() for side in sides for record in side
        )
        if self._number != self._intake.number:
            return  # read under another assignment (design): from offsets that may be anything
        steps = [await self._step(running[lane], records) for lane, records in fetched.items()]
        if steps:
            await self._apply(steps)
        if time.monotonic() - self._told >= _TELL_SECONDS and self._number == self._intake.number:
            await self._tell()
            await self._replay()

    async def _claim(self) -> None:
        self._lanes, number = None, self._intake.number
        await self._announcer.done()
        lanes = await claim(self._settings, self._intake, self._store)
        await self._standing.begin(list(lanes), _cut(lanes))
        self._lanes, self._number = lanes, number
        self._count_lanes()
        metrics.show_epochs(lane.epoch for lane in lanes.values())
        await self._settle()

    async def _settle(self) -> None:
        """A claim reads under the row's lock, so a doubtful COMMIT is known now: publish what it wrote."""
        unsure, self._unsure = self._unsure, None
        lanes = self._lanes or {}
        if unsure is not None and all(_has_taken(lanes.get(move.lane), move) for move in unsure.moves):
            await self._doorbell.publish(unsure.news)

    def _running(self) -> dict[Lane, OwnedLane]:
        return {id_: lane for id_, lane in (self._lanes or {}).items() if lane.halted_why is None}

    async def _step(self, lane: OwnedLane, records: tuple[Records, Records]) -> LaneStep:
        polls = await self._intake.polls(lane.lane)
        return step(lane, records, polls, self._values.codec, self._settings.max_consecutive_rejects)

    async def _apply(self, steps: Sequence[LaneStep]) -> None:
        batch = [one for step in steps for one in step.arrived]
        try:  # as if every transfer were new, which nearly all are
            await self._write(steps, await self._fold(batch, shown_by(batch)))
        except AlreadyListedError:
            await self._write(steps, await self._fold(batch, named_by(batch)))
        await self._done(one.lane for one in steps)
        self._leave_out([one.lane for one in steps if one.lane.halted_why is not None])

    async def _replay(self) -> None:
        """What an operator has marked in quarantine, with the place it had in Kafka: no lane moves on."""
        marked = await self._marked.read(list(self._running()))
        late = [one for _, one in marked]
        steps = [await self._step(self._running()[lane], ([], [])) for lane in {one.lane for one in late}]
        if steps:
            accounts = await self._standing.accounts(late)
            listed = await self._standing.listed(named_by(late))
            folded, outcomes = replay(late, accounts, listed, _cut(self._lanes or {}))
            ids = [id_ for id_, _ in marked]
            await self._write(steps, folded, list(zip(ids, outcomes, strict=True)))

    async def _write(
        self,
        steps: Sequence[LaneStep],
        folded: FoldResult,
        replayed: Sequence[tuple[int, ReplayOutcome]] = (),
    ) -> None:
        done = batch_rows(steps, folded, self._settings.currency, replayed)
        news = self._newsroom.deltas(steps, folded, _now())
        try:
            with metrics.seconds.labels("write").time():
                await self._store.write(done)
        except CommitUnknownError:
            if not replayed:  # where a lane stands does not tell of those: gateways find them by themselves
                self._unsure = UnknownCommit(done.moves, news)
            raise
        for one in steps:
            one.taken()
        self._standing.keep(folded, _cut(self._lanes or {}))
        metrics.count(folded, [outcome for _, outcome in replayed])
        await self._announcer.announce([one.lane for one in steps], news)

    def _leave_out(self, halted: Sequence[OwnedLane]) -> None:
        for lane in halted:
            _log.error("the lane is halted", lane=lane.lane, why=lane.halted_why)
            self._intake.leave_out(lane)
        self._count_lanes()

    async def _done(self, lanes: Iterable[OwnedLane]) -> None:
        if self._number == self._intake.number:
            await self._intake.applied(lanes)

    def _count_lanes(self) -> None:
        running = len(self._running())
        metrics.lanes.labels("running").set(running)
        metrics.lanes.labels("halted").set(len(self._lanes or {}) - running)

    def _count_doubts(self) -> None:
        metrics.disputed.set(self._standing.doubts.disputed)
        metrics.drifting.set(self._standing.doubts.drifting)
        metrics.unverified.set(self._standing.doubts.waiting_ms(_now()) / 1000)

    async def _fold(self, batch: Sequence[Incoming], named: set[Named]) -> FoldResult:
        with metrics.seconds.labels("load").time():
            accounts, listed = await self._standing.accounts(batch), await self._standing.listed(named)
        with metrics.seconds.labels("fold").time():
            return fold(batch, accounts, listed, _cut(self._lanes or {}))

    async def _tell(self) -> None:
        """How far each lane is complete: to Postgres, fenced, and to whoever follows the lane."""
        self._told = time.monotonic()
        await self._announcer.done()
        steps = [await self._step(lane, ([], [])) for lane in self._running().values()]
        await self._store.move([one.move for one in steps])
        await self._doorbell.publish(self._newsroom.progress(steps, _now()))
        await self._done(self._running().values())
        self._count_doubts()
        if await self._store.goes_on([id_ for id_ in self._lanes or {} if id_ not in self._running()]):
            self._lanes = None  # to be claimed, from where their rows say

    async def _outlive(self, error: Exception, stopping: asyncio.Event) -> None:
        """Whatever is not a bug: throw away what is known, wait, claim again; the batch is read again."""
        fate = fate_of(error)
        if fate is Fate.BUG:
            raise error
        metrics.failed.labels(fate.value).inc()
        if isinstance(error, FencedError):
            metrics.fenced.inc()
        _log.warning("lanes given up", fate=fate.value, error=repr(error))
        self._lanes = None
        self._count_lanes()
        if fate is Fate.TRANSIENT:
            self._store.drop()
        self._failures += 1
        most = min(_MAX_BACKOFF, 0.1 * 2 ** min(self._failures, 10))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), random.uniform(most / 4, most))


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


def _cut(lanes: Mapping[Lane, OwnedLane]) -> set[Lane]:
    """Those that were not read from their start."""
    return {id_ for id_, lane in lanes.items() if not lane.from_start}


def _has_taken(lane: OwnedLane | None, move: LaneMove) -> bool:
    """Whether the lane, claimed next by us, stands where `move` ends."""
    return lane is not None and (lane.generation, lane.transfers.next, lane.balances.next) == (
        move.generation + 1,
        move.transfers_to,
        move.balances_to,
    )
