"""Rows that a projector reads and writes: tuples in the order of the columns, with times in ms since 1970.

Amounts to be written are decimal strings, which keep their scale.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from livebalance.wire.identity import (
    INITIAL_REVISION,
    AccountId,
    Epoch,
    Lane,
    Offset,
    Revision,
    TransferId,
)
from livebalance.wire.kafka.headers import encode_headers
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis, limited_millis


class TopicIds(NamedTuple):
    """Kafka's ids of the topics. None: unknown."""

    transfers: UUID | None = None
    balances: UUID | None = None
    lifecycle: UUID | None = None


class LaneRow(NamedTuple):
    """A lane when it is claimed. `…_last` is the offset of the last record read, with its fingerprint."""

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
    transfers_topic_id: UUID | None = None
    balances_topic_id: UUID | None = None
    lifecycle_next: Offset = Offset(0)
    lifecycle_topic_id: UUID | None = None
    batches: int = 0  # batches that changed accounts of the lane


class LaneStart(NamedTuple):
    """Offsets at which a new lane begins. `from_start`: they are the first offsets that ever existed."""

    lane: Lane
    transfers: Offset
    balances: Offset
    from_start: bool


def lanes_from_start(lanes: int) -> list[LaneStart]:
    """Returns the start of that many lanes, each from offset 0."""
    return [LaneStart(Lane(number), Offset(0), Offset(0), True) for number in range(lanes)]


class LaneMove(NamedTuple):
    """Moves a lane over a batch; written only if the lane is still at `…_from` (docs/guarantees.md#fence)."""

    lane: Lane
    generation: int
    epoch: Epoch
    transfers_from: Offset
    balances_from: Offset
    transfers_to: Offset
    balances_to: Offset
    transfers_last: Offset | None  # None: no record of this topic was read; the stored value stays
    transfers_fingerprint: bytes | None
    balances_last: Offset | None
    balances_fingerprint: bytes | None
    last_event_at: Millis | None
    as_of: Millis | None
    halted_why: str | None
    disputed: int = 0  # added to the numbers of the lane's accounts, as are the next two
    drifting: int = 0
    unverified: int = 0
    lifecycle_next: Offset | None = None  # None: no record of the lifecycle topic was read
    batches: int = 0  # 1: the batch changes accounts of the lane; added to its number of batches


class Totals(NamedTuple):
    """Numbers of accounts that are disputed, drift, or wait for the transfer that their balance names."""

    disputed: int = 0
    drifting: int = 0
    unverified: int = 0


class LanesTotals(NamedTuple):
    """The totals of several lanes."""

    totals: Totals
    unverified_since: Millis | None  # of the account that has waited for longest
    uncounted: Sequence[Lane]  # lanes whose totals are unknown, and missing here
    erasing: Sequence[Lane]  # lanes with erased transfers that are not deleted yet


class BalanceRow(NamedTuple):
    """An account after a batch. `from_` is the revision that it must still have; 0: it must not exist yet."""

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
    opening_known: bool = False
    erased_transfers_before: Offset | None = None
    erased_balances_before: Offset | None = None
    erased_revision: Revision = INITIAL_REVISION  # of an erasure in the batch; 0: there was none
    half_applied_since: Millis | None = None
    erased_offset: Offset | None = None


class StoredBalance(NamedTuple):
    """An account as stored."""

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
    opening_known: bool = False
    erased_transfers_before: Offset | None = None
    erased_balances_before: Offset | None = None
    half_applied_since: Millis | None = None
    erased_offset: Offset | None = None
    currency: str | None = None


class TransferRow(NamedTuple):
    """A transfer to list."""

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
    """A transfer that is listed."""

    amount: Money
    occurred_at: Millis
    total: Money


class QuarantineRow(NamedTuple):
    """A rejected record, to be kept in the quarantine."""

    topic: str
    partition: Lane
    source_offset: Offset
    key: bytes | None
    value: bytes | None
    header_bytes: bytes  # encoded (livebalance.wire.kafka.headers)
    kafka_time: Millis
    reason: str
    state: str = "held"


def quarantine_row(raw: RawRecord, reason: str, state: str = "held") -> QuarantineRow:
    """Returns the row that keeps a record and the reason why it was not applied."""
    return QuarantineRow(
        raw.topic,
        Lane(raw.partition),
        Offset(raw.offset),
        raw.key,
        raw.value,
        encode_headers(raw.headers),
        limited_millis(raw.timestamp),
        reason,
        state,
    )


class ReplayRow(NamedTuple):
    """A quarantined record that is marked for replay, and its `id` in the quarantine."""

    id: int
    raw: RawRecord


class ReplayOutcome(NamedTuple):
    """Result of a replay: applied, duplicate, stale, erased with its account, or held again for `reason`."""

    state: Literal["applied", "duplicate", "stale", "erased", "held"]
    reason: str | None = None


class SetDifference(NamedTuple):
    """What a batch adds to the total that a lane keeps of a set (decision 46)."""

    channel: str  # of the set
    lane: Lane
    currency: str | None
    scale: int
    accounts: int
    amount: Money  # at this scale


class BatchRows(NamedTuple):
    """All rows and offsets of a batch, written in one transaction."""

    moves: Sequence[LaneMove] = ()
    balances: Sequence[BalanceRow] = ()
    erased: Sequence[AccountId] = ()  # accounts whose quarantined records are not applied any more
    transfers: Sequence[TransferRow] = ()
    quarantined: Sequence[QuarantineRow] = ()
    replayed: Sequence[tuple[int, ReplayOutcome]] = ()  # by their id in the quarantine
    replaces_erased: bool = False  # `transfers` replace erased transfers with their ids
    sets: Sequence[SetDifference] = ()


class SourceIdentity(NamedTuple):
    """What distinguishes the two topics from other topics of the same names."""

    partitions: int  # of each topic
    transfers_id: str
    balances_id: str


class SqlTransfer(NamedTuple):
    """A row of transfers that a comparison with Kafka met."""

    offset: Offset
    amount: Money | None  # None: not an amount that a transfer can have
    recorded_at: Millis
    revision: Revision
    has_same_content: bool  # as the record that names its id; False without such a record


class Finding(NamedTuple):
    """A record without an equal row at its offset, or a row without a record, and what is known of them."""

    offset: Offset | None  # of the record; None: there is none
    account: AccountId | None  # None: the record is not admissible
    transfer_id: TransferId | None
    row: SqlTransfer | None  # of the same account and id, at any offset
    quarantined: str | None = None  # the record's state in the quarantine
    erased_revision: Revision | None = None  # of the account; None: it does not exist
    erased_offset: Offset | None = None
    is_empty: bool = False  # the account has neither a balance nor a transfer


class HourRow(NamedTuple):
    """What a comparison has counted in an hour; columns of `reconciliation`."""

    hour: Millis
    kafka_records: int
    kafka_sum: str
    sql_rows: int
    sql_sum: str
    quarantined: int
    duplicates: int
    erased: int
    missing: int
    different: int
    extra: int
    restored: int


class Differences(NamedTuple):
    """What differs between Kafka and several lanes, and how old the comparison is."""

    missing: int
    different: int
    extra: int
    restored: int
    compared_at: Millis | None  # of the lane whose comparison is the oldest; None: there is none yet
    half_applied: int  # accounts with transfers that no balance includes
    half_applied_since: Millis | None


class RecorderLane(NamedTuple):
    """A partition as its recorder has stored it.

    `continued`: an operator lets it continue since it was halted, at `start_offset` if that is not None.
    """

    identity: SourceIdentity
    other_sources: bool
    halted_why: str | None
    continued: bool
    start_offset: Offset | None


class ServerIdentity(NamedTuple):
    """Identity of a Postgres server (docs/guarantees.md#epoch). It changes with a restore or a failover."""

    system_identifier: str
    timeline: str


class Projection(NamedTuple):
    """The projection. `known`: it was written to the server that answers."""

    epoch: Epoch
    known: bool
    partitions: int
