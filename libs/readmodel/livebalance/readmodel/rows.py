"""What a projector writes, as values: one tuple a row, in the order of the columns. Times are ms since 1970.

Amounts to be written are decimal strings: they keep their scale and are what a client is shown.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, Revision, TransferId
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis


class LaneRow(NamedTuple):
    """A lane as its new owner finds it."""

    lane: Lane
    generation: int
    epoch: Epoch
    transfers_next: Offset
    balances_next: Offset
    transfers_last: Offset | None
    transfers_fingerprint: bytes | None
    balances_last: Offset | None
    balances_fingerprint: bytes | None
    halted_why: str | None
    from_start: bool


class LaneStart(NamedTuple):
    """Where a lane begins to be read. From the start: nothing was ever before."""

    lane: Lane
    transfers: Offset
    balances: Offset
    from_start: bool


def whole(lanes: int) -> list[LaneStart]:
    """So many lanes, each read from its start."""
    return [LaneStart(Lane(number), Offset(0), Offset(0), True) for number in range(lanes)]


class LaneMove(NamedTuple):
    """A lane's step over one batch; written only if the lane still stands where the step begins."""

    lane: Lane
    generation: int
    epoch: Epoch
    transfers_from: Offset
    balances_from: Offset
    transfers_to: Offset
    balances_to: Offset
    transfers_last: Offset | None  # None: nothing read of this topic, keep what stands
    transfers_fingerprint: bytes | None
    balances_last: Offset | None
    balances_fingerprint: bytes | None
    last_event_at: Millis | None
    as_of: Millis | None
    halted_why: str | None


class BalanceRow(NamedTuple):
    """An account after a batch; `from_` is the revision it must still have, 0 if it must not exist yet."""

    account: AccountId
    from_: Revision
    revision: Revision
    lane: Lane
    balance: str | None
    scale: int | None
    currency: str | None
    version: int | None
    transfer_id: TransferId | None
    client_id: str | None
    opening: str | None
    posted_total: str
    transfer_count: int
    half_applied: str | None
    drift: str | None
    unverified_since: Millis | None
    disputed_since: Millis | None
    disputed_why: str | None
    transfers_offset: Offset | None
    balances_offset: Offset | None
    recorded_at: Millis


class StoredBalance(NamedTuple):
    """An account as it stands; what the fold goes on from."""

    account: AccountId
    revision: Revision
    lane: Lane
    balance: Money | None
    version: int | None
    transfer_id: TransferId | None
    client_id: str | None
    opening: Money | None
    posted_total: Money
    transfer_count: int
    half_applied: Money | None
    unverified_since: Millis | None
    disputed_since: Millis | None
    disputed_why: str | None
    transfers_offset: Offset | None
    balances_offset: Offset | None
    recorded_at: Millis


class TransferRow(NamedTuple):
    account: AccountId
    revision: Revision
    transfer_id: TransferId
    amount: str
    total: str
    occurred_at: Millis
    recorded_at: Millis
    lane: Lane
    source_offset: Offset


class ListedTransfer(NamedTuple):
    """A transfer that is in the list already."""

    amount: Money
    occurred_at: Millis
    total: Money


class QuarantineRow(NamedTuple):
    topic: str
    partition: Lane
    source_offset: Offset
    key: bytes | None
    value: bytes | None
    headers: str  # JSON: [[name, hex of the value], ...]
    kafka_time: Millis
    reason: str
    state: str = "held"


class MarkedRow(NamedTuple):
    """A record in quarantine that an operator wants applied: as a consumer hands out one, and its `id`."""

    id: int
    topic: str
    partition: Lane
    offset: Offset
    timestamp: Millis
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()  # nothing reads them


class ReplayOutcome(NamedTuple):
    """What became of a marked record: applied, duplicate, stale, or held again for `reason`."""

    state: Literal["applied", "duplicate", "stale", "held"]
    reason: str | None = None


class BatchRows(NamedTuple):
    """Rows and offsets of one batch: all or nothing."""

    moves: Sequence[LaneMove] = ()
    balances: Sequence[BalanceRow] = ()
    erased: Sequence[AccountId] = ()  # whose transfers are to go, before those below come
    transfers: Sequence[TransferRow] = ()
    quarantined: Sequence[QuarantineRow] = ()
    replayed: Sequence[tuple[int, ReplayOutcome]] = ()  # by their id in quarantine


class ServerIdentity(NamedTuple):
    """Which Postgres answers: it lost commits, or is another one, when this changes."""

    system_identifier: str
    timeline: str


class Projection(NamedTuple):
    """`known`: whether the server that answers is the one the projection was written to."""

    epoch: Epoch
    known: bool
    partitions: int
