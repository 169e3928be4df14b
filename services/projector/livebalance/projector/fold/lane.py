"""A lane this process owns, and its step over one fetch: what is applied, and where it then stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from livebalance.projector.fold.records import Incoming, KafkaRecord, arrivals, before_streak, fingerprint
from livebalance.readmodel.rows import LaneMove, LaneRow
from livebalance.wire.identity import Epoch, Lane, Offset
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.timestamp import Millis


class FetchStatus(NamedTuple):
    """How the consumer stood with one partition right after a fetch."""

    complete: bool  # everything that was committed when the broker last answered has been handed out
    at: Millis | None  # when it last answered


@dataclass(slots=True)
class LaneSide:
    """One topic's partition of a lane."""

    topic: str
    next: Offset
    last: Offset | None  # of the last record read before the claim, and its fingerprint
    fingerprint: bytes | None
    applied_at: Millis | None = None  # Kafka's time of the last record applied

    @property
    def begin(self) -> Offset:
        """Where reading begins: at the last record read, to see that it is still what it was."""
        return self.next if self.last is None else self.last


@dataclass(slots=True)
class OwnedLane:
    """What the owner knows of its lane; changed only after Postgres has taken a step."""

    lane: Lane
    generation: int
    epoch: Epoch
    transfers: LaneSide
    balances: LaneSide
    halted_why: str | None
    from_start: bool = True  # nothing was before what was read
    refused: int = 0  # in a row, up to now


class Checkpoint(NamedTuple):
    """Where one side stands after a step."""

    next: Offset
    last: Offset | None  # None: nothing was taken
    fingerprint: bytes | None
    applied_at: Millis | None


class LaneStep(NamedTuple):
    """One lane's part of a batch."""

    lane: OwnedLane
    arrived: Sequence[Incoming]
    move: LaneMove
    refused: int
    applied_at: tuple[Millis | None, Millis | None]

    def taken(self) -> None:
        """Postgres has it: the lane stands where the step ends."""
        self.lane.transfers.next, self.lane.balances.next = self.move.transfers_to, self.move.balances_to
        self.lane.transfers.applied_at, self.lane.balances.applied_at = self.applied_at
        self.lane.halted_why, self.lane.refused = self.move.halted_why, self.refused


def owned(row: LaneRow, transfers_topic: str, balances_topic: str) -> OwnedLane:
    """A lane as its row says, just claimed."""
    return OwnedLane(
        row.lane,
        row.generation,
        row.epoch,
        LaneSide(transfers_topic, row.transfers_next, row.transfers_last, row.transfers_fingerprint),
        LaneSide(balances_topic, row.balances_next, row.balances_last, row.balances_fingerprint),
        row.halted_why,
        row.from_start,
    )


def unreadable(side: LaneSide, first: int, end: int) -> str | None:
    """Why a log of offsets `first` up to `end` cannot be read on from here; None if it can."""
    if end < side.next:
        return f"{side.topic} ends at {end} but {side.next} comes next: the topic was made anew"
    if first > side.next:
        return f"{side.topic} begins at {first} but {side.next} comes next: history was lost"
    return None


def step(
    lane: OwnedLane,
    records: tuple[Sequence[KafkaRecord], Sequence[KafkaRecord]],
    polls: tuple[FetchStatus, FetchStatus],
    codec: Codec,
    refused_in_a_row: int,
) -> LaneStep:
    """Over what one fetch brought; over nothing, it only tells how far the lane is complete."""
    transfers, balances = records
    halt = _other(lane.transfers, transfers) or _other(lane.balances, balances)
    fresh = (
        [] if halt else arrivals(_fresh(lane.transfers, transfers), _fresh(lane.balances, balances), codec)
    )
    arrived, refused = before_streak(fresh, lane.refused, refused_in_a_row)
    if refused > refused_in_a_row:
        halt = f"more than {refused_in_a_row} records in a row were refused"
    marks = _mark(lane.transfers, arrived), _mark(lane.balances, arrived)
    complete = [_complete(mark, poll) for mark, poll in zip(marks, polls, strict=True)]
    as_of = None if halt or None in complete else min(at for at in complete if at is not None)
    move = _move(lane, marks, max((one.at for one in arrived), default=None), as_of, halt)
    return LaneStep(lane, arrived, move, refused, (marks[0].applied_at, marks[1].applied_at))


def halting(lane: OwnedLane, why: str) -> LaneMove:
    """The lane stays where it is, and says why."""
    return _move(lane, (_mark(lane.transfers, ()), _mark(lane.balances, ())), None, None, why)


def _move(
    lane: OwnedLane,
    marks: tuple[Checkpoint, Checkpoint],
    event: Millis | None,
    as_of: Millis | None,
    halt: str | None,
) -> LaneMove:
    transfers, balances = marks
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
        last_event_at=event,
        as_of=as_of,
        halted_why=halt,
    )


def _other(side: LaneSide, records: Sequence[KafkaRecord]) -> str | None:
    """What to say when the last record read is another one now."""
    last = records[0] if records else None
    if last is None or last.offset != side.last or last.offset >= side.next:
        return None
    if fingerprint(last) == side.fingerprint:
        return None
    return f"{side.topic} holds another record at {last.offset} now: the topic was made anew"


def _fresh(side: LaneSide, records: Sequence[KafkaRecord]) -> Sequence[KafkaRecord]:
    if not records or records[0].offset >= side.next:
        return records
    return [record for record in records if record.offset >= side.next]


def _mark(side: LaneSide, arrived: Sequence[Incoming]) -> Checkpoint:
    last = next((one for one in reversed(arrived) if one.raw.topic == side.topic), None)
    if last is None:
        return Checkpoint(side.next, None, None, side.applied_at)
    return Checkpoint(Offset(last.offset + 1), last.offset, fingerprint(last.raw), last.at)


def _complete(mark: Checkpoint, poll: FetchStatus) -> Millis | None:
    """One side's "complete as of": the broker's last answer, or how far behind it the records are."""
    if poll.at is None or poll.complete:
        return poll.at
    return None if mark.applied_at is None else min(mark.applied_at, poll.at)
