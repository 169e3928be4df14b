"""A lane that this process owns, and the step that a fetch moves it."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from livebalance.projector.fold.records import (
    Incoming,
    SourceIds,
    decode_and_merge,
    decode_lifecycle_records,
    fingerprint,
    limit_consecutive_rejects,
    without_other_bounds,
)
from livebalance.readmodel.rows import LaneMove, LaneRow
from livebalance.wire.identity import Epoch, Lane, Offset
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.money import MAX_SCALE
from livebalance.wire.timestamp import Millis


class FetchStatus(NamedTuple):
    """The consumer's state in a partition right after a fetch."""

    caught_up: bool  # the consumer has returned every record that was committed at `answered_at`
    # When the broker last answered, less the age of an open transaction that holds records back. None: never.
    answered_at: Millis | None


@dataclass(slots=True)
class LaneSide:
    """A lane's partition of a topic."""

    topic: str
    next: Offset
    last: Offset | None  # the last record read before the claim
    fingerprint: bytes | None  # of the record at `last`
    topic_id: UUID | None = None  # Kafka's id of the topic that `next` is of; None: unknown
    applied_at: Millis | None = None  # Kafka's time of the last record applied

    @property
    def seek_offset(self) -> Offset:
        """The offset to fetch from: the last record is read again, to compare its fingerprint."""
        return self.next if self.last is None else self.last

    def forget_deleted(self, first: int) -> None:
        """Forgets the last record if the topic begins behind it: it cannot be read again, and need not be."""
        if self.last is not None and self.last < first:
            self.last, self.fingerprint = None, None


@dataclass(slots=True)
class OwnedLane:
    """A lane's state, as its owner knows it. Changed only after Postgres has committed a step."""

    lane: Lane
    generation: int
    epoch: Epoch
    transfers: LaneSide
    balances: LaneSide
    halted_why: str | None
    from_start: bool = True  # the lane was read from its first record
    # Consecutive rejected records of each topic, up to the last record read.
    rejects: Mapping[str, int] = field(default_factory=dict)
    lifecycle: LaneSide | None = None  # None: there is no lifecycle topic
    batches: int = 0  # batches that changed accounts of the lane

    @property
    def sides(self) -> list[LaneSide]:
        """The lane's partition of each topic."""
        return [side for side in (self.transfers, self.balances, self.lifecycle) if side is not None]


class Checkpoint(NamedTuple):
    """The position of a side after a step."""

    next: Offset
    last: Offset | None  # None: the step has no record of this side
    fingerprint: bytes | None
    applied_at: Millis | None


class LaneStep(NamedTuple):
    """A lane's part of a batch."""

    lane: OwnedLane
    records: Sequence[Incoming]
    move: LaneMove
    rejects: Mapping[str, int]
    applied_at: tuple[Millis | None, Millis | None]

    def advance_lane(self) -> None:
        """Moves the lane to the end of the step. Called after Postgres has committed the step."""
        self.lane.transfers.next, self.lane.balances.next = self.move.transfers_to, self.move.balances_to
        self.lane.transfers.applied_at, self.lane.balances.applied_at = self.applied_at
        self.lane.halted_why, self.lane.rejects = self.move.halted_why, self.rejects
        if self.lane.lifecycle is not None and self.move.lifecycle_next is not None:
            self.lane.lifecycle.next = self.move.lifecycle_next


def owned_lane(
    row: LaneRow, transfers_topic: str, balances_topic: str, lifecycle_topic: str | None = None
) -> OwnedLane:
    """Returns a lane that was just claimed, from its row."""
    lifecycle = None
    if lifecycle_topic is not None:
        lifecycle = LaneSide(lifecycle_topic, row.lifecycle_next, None, None, row.lifecycle_topic_id)
    return OwnedLane(
        row.lane,
        row.generation,
        row.epoch,
        LaneSide(
            transfers_topic,
            row.transfers_next,
            row.transfers_last,
            row.transfers_fingerprint,
            row.transfers_topic_id,
        ),
        LaneSide(
            balances_topic,
            row.balances_next,
            row.balances_last,
            row.balances_fingerprint,
            row.balances_topic_id,
        ),
        row.halted_why,
        row.from_start,
        lifecycle=lifecycle,
        batches=row.batches,
    )


def changed_topic_reason(
    side: LaneSide, topic_id: UUID | None, partitions: int, built_from: int
) -> str | None:
    """Returns why a topic is not the topic that the lane has read; None if it is (decision 19).

    Args:
        side: The lane's partition of the topic.
        topic_id: The topic's id now; None: unknown.
        partitions: The topic's number of partitions now.
        built_from: The number of partitions that the projection was built from.
    """
    if partitions != built_from:
        return (
            f"the topic {side.topic} has {partitions} partitions, the projection was built from {built_from}"
        )
    if None not in (topic_id, side.topic_id) and topic_id != side.topic_id:
        return f"{side.topic} has another topic id now: the topic was recreated"
    return None


def unreadable_reason(side: LaneSide, first: int, end: int) -> str | None:
    """Returns why a partition with the offsets `first` up to `end` cannot be read on; None if it can."""
    if end < side.next:
        return f"{side.topic} ends at {end} but {side.next} comes next: the topic was recreated"
    if first > side.next:
        return f"{side.topic} begins at {first} but {side.next} comes next: history was lost"
    return None


class DecodedRecords(NamedTuple):
    """The decoded records of a fetch, in the order in which they are applied."""

    records: Sequence[Incoming] = ()
    halt: str | None = None  # why the lane must halt before them


def decode(
    lane: OwnedLane,
    records: tuple[Sequence[RawRecord], Sequence[RawRecord]],
    codec: Codec,
    *,
    max_scale: int = MAX_SCALE,
) -> Generator[None, None, DecodedRecords]:
    """Decodes the records of a fetch. Leaves out those that were applied before the lane was claimed.

    A generator that pauses now and then, and returns the records.
    """
    transfers, balances = records
    halt = _replaced_record(lane.transfers, transfers) or _replaced_record(lane.balances, balances)
    if halt:
        return DecodedRecords(halt=halt)
    merged = yield from decode_and_merge(
        _unapplied(lane.transfers, transfers), _unapplied(lane.balances, balances), codec, max_scale
    )
    return DecodedRecords(without_other_bounds(merged, lane.transfers.topic_id))


def step(
    lane: OwnedLane,
    decoded: DecodedRecords,
    statuses: tuple[FetchStatus, FetchStatus],
    max_consecutive_rejects: int,
) -> LaneStep:
    """Returns the step that a fetch moves a lane. Without records, it moves only "complete as of"."""
    applicable, rejects, reason = _applicable(lane, decoded.records, max_consecutive_rejects)
    halt = reason or decoded.halt
    checkpoints = _checkpoint(lane.transfers, applicable), _checkpoint(lane.balances, applicable)
    complete = [
        _complete_as_of(checkpoint, status) for checkpoint, status in zip(checkpoints, statuses, strict=True)
    ]
    as_of = None if halt or None in complete else min(at for at in complete if at is not None)
    newest = max((record.at for record in applicable), default=None)
    move = _move(lane, checkpoints, newest, as_of, halt)
    return LaneStep(lane, applicable, move, rejects, (checkpoints[0].applied_at, checkpoints[1].applied_at))


def lifecycle_step(
    lane: OwnedLane, records: Sequence[RawRecord], max_consecutive_rejects: int, *, max_scale: int = MAX_SCALE
) -> LaneStep:
    """Returns the step that records of the lifecycle topic move a lane. It moves no other side."""
    ids = SourceIds(lane.transfers.topic_id, lane.balances.topic_id)
    decoded = decode_lifecycle_records(records, ids, max_scale)
    applicable, rejects, halt = _applicable(lane, decoded, max_consecutive_rejects)
    checkpoints = _checkpoint(lane.transfers, ()), _checkpoint(lane.balances, ())
    move = _move(lane, checkpoints, None, None, halt)
    if applicable:
        move = move._replace(lifecycle_next=Offset(applicable[-1].offset + 1))
    return LaneStep(lane, applicable, move, rejects, (checkpoints[0].applied_at, checkpoints[1].applied_at))


def _applicable(
    lane: OwnedLane, decoded: Sequence[Incoming], max_consecutive_rejects: int
) -> tuple[Sequence[Incoming], dict[str, int], str | None]:
    """Returns the records to apply, the new numbers of rejects, and why the lane must halt after them."""
    halt = None
    readable = [*takewhile(lambda record: record.raw.unreadable is None, decoded)]
    if len(readable) < len(decoded):
        halt = _unreadable_record(decoded[len(readable)].raw)
    applicable, rejects = limit_consecutive_rejects(readable, lane.rejects, max_consecutive_rejects)
    for topic, count in rejects.items():
        if count > max_consecutive_rejects:
            halt = f"more than {max_consecutive_rejects} consecutive records of {topic} were rejected"
    return applicable, rejects, halt


def halt_move(lane: OwnedLane, reason: str) -> LaneMove:
    """Returns a move that halts the lane where it is."""
    checkpoints = _checkpoint(lane.transfers, ()), _checkpoint(lane.balances, ())
    return _move(lane, checkpoints, None, None, reason)


def _move(
    lane: OwnedLane,
    checkpoints: tuple[Checkpoint, Checkpoint],
    newest: Millis | None,
    as_of: Millis | None,
    halt: str | None,
) -> LaneMove:
    transfers, balances = checkpoints
    return LaneMove(
        lane=lane.lane,
        generation=lane.generation,
        epoch=lane.epoch,
        transfers_from=lane.transfers.next,
        balances_from=lane.balances.next,
        transfers_to=transfers.next,
        balances_to=balances.next,
        transfers_last=transfers.last,
        transfers_fingerprint=transfers.fingerprint,
        balances_last=balances.last,
        balances_fingerprint=balances.fingerprint,
        last_event_at=newest,
        as_of=as_of,
        halted_why=halt,
    )


def _replaced_record(side: LaneSide, records: Sequence[RawRecord]) -> str | None:
    """Returns why the lane must halt if the last record read before the claim is another record now."""
    last = records[0] if records else None
    if last is None or last.offset != side.last or last.offset >= side.next:
        return None
    if fingerprint(last) == side.fingerprint:
        return None
    return f"{side.topic} holds another record at {last.offset} now: the topic was recreated"


def _unreadable_record(raw: RawRecord) -> str:
    return f"{raw.topic} cannot be read at {raw.offset}: {raw.unreadable}"


def _unapplied(side: LaneSide, records: Sequence[RawRecord]) -> Sequence[RawRecord]:
    if not records or records[0].offset >= side.next:
        return records
    return [record for record in records if record.offset >= side.next]


def _checkpoint(side: LaneSide, records: Sequence[Incoming]) -> Checkpoint:
    last = next((record for record in reversed(records) if record.raw.topic == side.topic), None)
    if last is None:
        return Checkpoint(side.next, None, None, side.applied_at)
    return Checkpoint(Offset(last.offset + 1), last.offset, fingerprint(last.raw), last.at)


def _complete_as_of(checkpoint: Checkpoint, status: FetchStatus) -> Millis | None:
    """Returns as of when a side is complete; None if unknown.

    This is the time of the broker's last answer, or of the last record applied while records wait.
    """
    if status.answered_at is None or status.caught_up:
        return status.answered_at
    return None if checkpoint.applied_at is None else min(checkpoint.applied_at, status.answered_at)
