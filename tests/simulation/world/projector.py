"""The projector's shell: claim, seek, fetch, fold, write behind the fence, commit offsets, publish.

The order of the steps is that of `livebalance.projector`. Each decision is the fold's.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from livebalance.projector.fold.account import Account, account_from_row
from livebalance.projector.fold.erasures import overtaken_erasures
from livebalance.projector.fold.fold import (
    FoldResult,
    TransferKey,
    account_ids,
    batch_rows,
    fold,
    keys_named_by_balances,
    transfer_keys,
)
from livebalance.projector.fold.lane import (
    FetchStatus,
    LaneStep,
    OwnedLane,
    changed_topic_reason,
    decode,
    halt_move,
    lifecycle_step,
    owned_lane,
    step,
    unreadable_reason,
)
from livebalance.projector.fold.records import Incoming
from livebalance.projector.redis.messages import Message, MessageEncoder
from livebalance.readmodel.rows import LaneMove, ListedTransfer
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.timestamp import Millis
from tests.pieces import finish
from tests.simulation.world.codec import JSON
from tests.simulation.world.lifecycle import LifecycleReader
from tests.simulation.world.process import IDLE, Process, Steps
from tests.simulation.world.servers.kafka import (
    BALANCES,
    LIFECYCLE,
    TRANSFERS,
    ConnectionLostError,
    GroupOffset,
    Log,
    Member,
    OffsetOutOfRangeError,
    Partition,
    Record,
)
from tests.simulation.world.servers.postgres import (
    AlreadyListedError,
    FencedError,
    Postgres,
    UnavailableError,
    Write,
)

GROUP = "projector"
BATCH = 4  # records of each topic
POLL_SECONDS = 0.1
WRITE_SECONDS = 0.1  # of a transaction: records arrive meanwhile
PROGRESS_SECONDS = 1.0
MAX_REJECTS = 3
CATCH_UP_MS = 600_000
PREFIX = "x:"


class CommitUnknownError(Exception):
    """The connection was lost during COMMIT."""


class UnknownCommit(NamedTuple):
    """A batch whose COMMIT was not answered, and the messages to publish if it was committed."""

    moves: Sequence[LaneMove]
    messages: list[Message]


class FetchedLane(NamedTuple):
    """What a fetch has returned of a lane."""

    records: tuple[list[Record], list[Record]]  # transfers, balances
    statuses: tuple[FetchStatus, FetchStatus]  # right after the fetch


class Projector(Process):
    """A member of the group of projectors."""

    write: Write | None = None  # the open transaction
    lives = 0  # how often it was started
    at_write: Callable[[list[Lane]], None] | None = None  # a fault, with the lanes of a batch

    def create(self) -> Sequence[Steps]:
        self.member = Member()
        self.lanes: dict[Lane, OwnedLane] | None = None
        self.accounts: dict[AccountId, Account] = {}
        self.listed: dict[TransferKey, ListedTransfer] = {}
        self.fetched_to: dict[Lane, list[int]] = {}
        self.ahead: dict[Lane, FetchedLane] | None = None  # a batch read while another was written
        self.lifecycle = LifecycleReader(self.world.kafka)
        self.reads_ahead = False  # while the open transaction is written
        self.unknown_commit: UnknownCommit | None = None
        self.after_commit: list[tuple[list[OwnedLane], list[Message]]] = []
        # As in an upgrade and in a rollback, a restart changes the format of the deltas.
        self.lives += 1
        positions = (self.lives + int(self.name.removeprefix("projector-"))) % 2 == 1
        self.encoder = MessageEncoder(PREFIX, TRANSFERS, "EUR", CATCH_UP_MS, positions=positions)
        self.connection: int | None = None
        self.progress_at = 0.0
        return self._run(), self._after_commit()

    def expire(self) -> None:
        self.world.projectors_group.expire(self.member)

    def on_killed(self) -> None:
        if self.write is not None:
            self.world.postgres.abort(self.write)
            self.write = None

    def _run(self) -> Steps:
        group = self.world.projectors_group
        while True:
            try:
                if group.poll(self.member) or self.lanes is None:
                    yield from self._claim()
                yield from self._iterate()
                yield POLL_SECONDS
            except (FencedError, OffsetOutOfRangeError):
                self.lanes = None
                yield POLL_SECONDS
            except (UnavailableError, ConnectionLostError, CommitUnknownError):
                self.lanes, self.connection = None, None
                yield POLL_SECONDS

    @property
    def postgres(self) -> Postgres:
        """The server, over the connection that this process has. A restart or failover ends connections."""
        if self.connection not in (None, self.world.postgres.boot):
            raise ConnectionLostError
        return self.world.postgres

    # --- the claim

    def _claim(self) -> Steps:
        kafka = self.world.kafka
        self.lanes = None
        self.drop_ahead()
        while self.after_commit:
            yield 0.01
        if self.connection is None:
            self.postgres.check_server()
            self.connection = self.postgres.boot
        lanes: dict[Lane, OwnedLane] = {}
        for number in self.member.assigned:
            if number in self.postgres.tables.lanes:
                yield 0.0
                stored = self.postgres.claim(Lane(number), kafka.topics[LIFECYCLE].id)
                lanes[Lane(number)] = owned_lane(stored.row, TRANSFERS, BALANCES, LIFECYCLE)
        yield 0.0
        for lane in lanes.values():
            for side in (lane.transfers, lane.balances):
                committed = kafka.offsets.get((GROUP, Partition(side.topic, lane.lane)))
                if committed and committed.metadata == lane.epoch and committed.offset > side.next:
                    self.postgres.change_epoch()
                    raise FencedError
        yield 0.0
        self.lifecycle.assign(lanes, self.world.now)
        for lane in lanes.values():
            reason = self.unreadable(lane)
            if lane.halted_why is None and reason is not None:
                self.postgres.move_lanes([halt_move(lane, reason)])
                lane.halted_why = reason
        yield 0.0
        self.accounts, self.listed = {}, {}
        self.fetched_to = {
            number: [
                # The last record that was applied may have been deleted since.
                side.seek_offset if side.seek_offset >= log.first else side.next
                for side, log in zip((lane.transfers, lane.balances), self._logs(number), strict=True)
            ]
            for number, lane in lanes.items()
        }
        self.lanes = lanes
        batch, self.unknown_commit = self.unknown_commit, None
        if batch is not None and all(was_committed(move, lanes.get(move.lane)) for move in batch.moves):
            self.world.redis.publish(batch.messages)

    def unreadable(self, lane: OwnedLane) -> str | None:
        """Returns why the lane cannot be read on."""
        kafka, partitions = self.world.kafka, self.world.postgres.tables.partitions
        for side in lane.sides:
            topic = kafka.topics[side.topic]
            if reason := changed_topic_reason(side, topic.id, len(topic.logs), partitions):
                return reason
        logs = [kafka.log(side.topic, lane.lane) for side in lane.sides]
        reasons = [
            unreadable_reason(side, log.first, log.last_stable)
            for side, log in zip(lane.sides, logs, strict=True)
        ]
        return next(filter(None, reasons), None)

    def _logs(self, lane: Lane) -> tuple[Log, Log]:
        topics = self.world.kafka.topics
        return topics[TRANSFERS].logs[lane], topics[BALANCES].logs[lane]

    # --- a batch

    def _running(self) -> dict[Lane, OwnedLane]:
        return {number: lane for number, lane in (self.lanes or {}).items() if lane.halted_why is None}

    def _iterate(self) -> Steps:
        lifecycle = self.lifecycle
        if lifecycle.behind:
            yield from self._apply_lifecycle()
        fetched, self.ahead = self.ahead, None
        if fetched is None:
            fetched = self._fetch_lanes()
        if fetched:
            yield 0.0
            if self.world.projectors_group.number != self.member.number:
                return  # read under another assignment
            running = self._running()  # without the lanes that the batch before has halted
            steps = [
                self._step(running[number], lane) for number, lane in fetched.items() if number in running
            ]
            yield from self._apply(steps, reads_ahead=True)
        if not lifecycle.behind:
            yield from self._apply_lifecycle()
        if self.is_progress_due() and self.may_write_progress():
            yield from self._write_progress()

    def is_progress_due(self) -> bool:
        return self.world.now - self.progress_at >= PROGRESS_SECONDS

    def may_write_progress(self) -> bool:
        """Returns whether the lanes are complete up to the records that are fetched."""
        return self.ahead is None

    def drop_ahead(self) -> None:
        """Drops the batch that was read ahead: the claim reads its records again."""
        self.ahead = None

    def _apply_lifecycle(self) -> Steps:
        """Applies openings and erasures."""
        running = self._running()
        if fetched := self.lifecycle.fetch(running.keys(), self.world.now):
            yield 0.0
            yield from self._apply(
                [lifecycle_step(running[lane], records, MAX_REJECTS) for lane, records in fetched.items()]
            )
        self.lifecycle.update_behind()

    def _fetch_lanes(self) -> dict[Lane, FetchedLane]:
        reading = [number for number in self._running() if number not in self.lifecycle.behind]
        records = {number: records for number in reading if any(records := self._fetch(number))}
        return {number: FetchedLane(sides, self._statuses(number)) for number, sides in records.items()}

    def _fetch(self, number: Lane) -> tuple[list[Record], list[Record]]:
        positions, logs = self.fetched_to[number], self._logs(number)
        transfers, positions[0] = logs[0].read(positions[0], BATCH)
        balances, positions[1] = logs[1].read(positions[1], BATCH)
        return transfers, balances

    def _statuses(self, number: Lane) -> tuple[FetchStatus, FetchStatus]:
        logs, positions = self._logs(number), self.fetched_to[number]
        return self._fetch_status(logs[0], positions[0]), self._fetch_status(logs[1], positions[1])

    def _step(self, lane: OwnedLane, fetched: FetchedLane) -> LaneStep:
        return step(lane, finish(decode(lane, fetched.records, JSON)), fetched.statuses, MAX_REJECTS)

    def _fetch_status(self, log: Log, position: int) -> FetchStatus:
        first_open, wall = log.first_open, self.world.wall
        if first_open is None:
            return FetchStatus(position >= log.end, wall)
        return FetchStatus(position >= first_open.offset, Millis(first_open.timestamp))

    def _apply(self, steps: Sequence[LaneStep], *, reads_ahead: bool = False) -> Steps:
        batch = [record for lane_step in steps for record in lane_step.records]
        self.reads_ahead = reads_ahead and not self.is_progress_due()
        try:  # assume that every transfer is new
            yield from self._write(steps, self._fold(batch, keys_named_by_balances(batch)))
        except AlreadyListedError:
            yield from self._write(steps, self._fold(batch, transfer_keys(batch)))

    def _fold(self, batch: Sequence[Incoming], keys: set[TransferKey]) -> FoldResult:
        postgres = self.postgres
        ids = account_ids(batch)
        for row in postgres.stored_balances(ids - self.accounts.keys()):
            self.accounts[row.account] = account_from_row(row)
        self.listed.update(postgres.listed_transfers(keys - self.listed.keys()))
        survivors = postgres.listed_since(overtaken_erasures(batch, self.accounts))
        following = {number: lane.transfers.next for number, lane in (self.lanes or {}).items()}
        return fold(batch, self.accounts, self.listed, (), following, survivors=survivors)

    def _write(self, steps: Sequence[LaneStep], folded: FoldResult) -> Steps:
        rows = batch_rows(steps, folded, "EUR")
        messages = [*self.encoder.deltas(steps, folded, self.world.wall)]
        if self.at_write is not None:
            at_write, self.at_write = self.at_write, None
            at_write([lane_step.lane.lane for lane_step in steps])
        yield 0.0
        self.write = self.postgres.write(rows)
        self.world.oracles.before_commit(rows.moves)
        self.before_commit(messages)
        yield WRITE_SECONDS
        if self.reads_ahead and self.ahead is None:
            self.ahead = self._fetch_lanes() or None
        write, self.write = self.write, None
        try:
            self.world.postgres.commit(write)
            self.world.oracles.after_commit(rows)
        except ConnectionLostError as lost:
            self.on_unknown_commit(UnknownCommit(rows.moves, messages), lost)
        for lane_step in steps:
            self.world.oracles.on_batch(lane_step)
            lane_step.advance_lane()
        if any(change.erased for change in folded.changes.values()):
            self.listed.clear()
        self.accounts.update((id_, change.account) for id_, change in folded.changes.items())
        self.listed.update(folded.newly_listed)
        while self.after_commit:
            yield 0.01
        self.after_commit.append(([lane_step.lane for lane_step in steps], messages))
        self.wake()

    def before_commit(self, messages: list[Message]) -> None:
        """Publishes nothing (docs/guarantees.md#publishing)."""

    def on_unknown_commit(self, batch: UnknownCommit, lost: Exception) -> None:
        """Leaves the outcome to the next claim."""
        self.unknown_commit = batch
        raise CommitUnknownError from lost

    def _after_commit(self) -> Steps:
        """Commits the offsets of a batch, then publishes its messages, beside the next batch."""
        while True:
            if not self.after_commit:
                yield IDLE
                continue
            lanes, messages = self.after_commit[0]
            self.world.kafka.commit_offsets(
                GROUP,
                [
                    (Partition(side.topic, lane.lane), GroupOffset(side.next, lane.epoch))
                    for lane in lanes
                    for side in (lane.transfers, lane.balances)
                ],
            )
            yield 0.0
            for message in messages:
                self.world.redis.publish([message])
                yield 0.0
            self.after_commit.clear()

    def _write_progress(self) -> Steps:
        self.progress_at = self.world.now
        while self.after_commit:
            yield 0.01
        steps = [
            self._step(lane, FetchedLane(([], []), self._statuses(number)))
            for number, lane in self._running().items()
        ]
        yield 0.0
        self.postgres.move_lanes([lane_step.move for lane_step in steps])
        self.world.oracles.on_progress([lane_step.move for lane_step in steps])
        stored = self.world.postgres.tables.lanes
        if any(
            lane.halted_why is not None and stored[number].row.halted_why is None
            for number, lane in (self.lanes or {}).items()
        ):
            self.lanes = None  # an operator let a lane continue


def was_committed(move: LaneMove, lane: OwnedLane | None) -> bool:
    """Returns whether `lane`, just claimed again, is at the end of `move`."""
    if lane is None or (lane.lifecycle and move.lifecycle_next not in (None, lane.lifecycle.next)):
        return False
    return (lane.generation, lane.transfers.next, lane.balances.next) == (
        move.generation + 1,
        move.transfers_to,
        move.balances_to,
    )
