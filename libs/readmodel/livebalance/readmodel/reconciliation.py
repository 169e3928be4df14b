"""Statements that compare the topic of transfers with its rows (docs/guarantees.md#reconciliation).

All statements about a span run in one transaction that is `repeatable read`: they see one snapshot, and a
process that was paused cannot overwrite what the next owner of the lane has stored.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projector_writes import Connection, milliseconds
from livebalance.readmodel.rows import Differences, Finding, HourRow, SqlTransfer
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money, parse_money

SPAN_OFFSETS = 2_000  # the results of each such range of offsets are stored together, and replaced together
_LATE = "interval '10 seconds'"  # a recorder needs less
_MAX_LATE_ACCOUNTS = 10_000  # kept for each lane


class Span(NamedTuple):
    """Offsets of a lane's transfers, from `start` to before `end`, within one range of SPAN_OFFSETS."""

    lane: Lane
    start: Offset
    end: Offset

    @property
    def first_offset(self) -> int:
        """The start of the range that contains the span."""
        return self.start - self.start % SPAN_OFFSETS


class ComparedOffsets(NamedTuple):
    """How far a lane is compared; the columns of `reconciliation_lane`."""

    start: Offset
    compared_next: Offset
    history_next: Offset


_FORGET_SET_BACK = """
with set_back as (
  delete from reconciliation_lane r using lane l
   where r.lane = $1 and l.lane = r.lane and l.transfers_next < r.compared_next returning r.lane)
delete from reconciliation c using set_back s where c.lane = s.lane
"""
_PROGRESS = """
with added as (
  insert into reconciliation_lane (lane, start_offset, compared_next, history_next)
  select lane, first, first, first
    from (select lane, case when from_start then 0 else transfers_next end as first from lane) l
   where lane = $1
  on conflict (lane) do nothing returning start_offset, compared_next, history_next)
select start_offset, compared_next, history_next from added
 union all
select start_offset, compared_next, history_next from reconciliation_lane where lane = $1
"""


async def compared_offsets(connection: Connection, lane: Lane) -> ComparedOffsets:
    """Returns how far a lane is compared. A lane that is new, or was set back, begins at its start.

    A lane that was not read from its first transfer begins where it is now.
    """
    await connection.execute(_FORGET_SET_BACK, lane)
    row = await connection.fetchrow(_PROGRESS, lane)
    assert row is not None, "the lane exists"
    return ComparedOffsets(*row)


_HOLDS = "select exists (select from lane where lane = $1 and generation = $2 and transfers_next >= $3)"


async def is_applied(connection: Connection, owner: LaneOwner, end: Offset) -> bool:
    """Returns whether the lane still has this owner, and its transfers up to `end` are applied."""
    return bool(await connection.fetchval(_HOLDS, owner.lane, owner.generation, end))


def _finite(name: str) -> str:
    """Returns SQL that converts timestamptz to ms, and infinity, which no transfer has, to null."""
    return f"case when isfinite({name}) then {milliseconds(name)} end"


# The row of a record has its offset, account and id. Only what is not plainly equal is returned.
_COMPARE = f"""
with record as materialized (
  select x.record_offset, x.account_id, x.transfer_id, x.amount::numeric as amount, x.occurred_ms
    from unnest($4::int8[], $5::text[], $6::text[], $7::text[], $8::int8[])
      as x (record_offset, account_id, transfer_id, amount, occurred_ms)),
stored as materialized (
  select account_id, transfer_id, source_offset, amount, {_finite("occurred_at")} as occurred_ms,
         {_finite("recorded_at")} as recorded_ms, revision
    from transfer where lane = $1 and source_offset >= $2 and source_offset < $3),
paired as (
  select r.record_offset, coalesce(s.account_id, r.account_id) as account_id,
         coalesce(s.transfer_id, r.transfer_id) as transfer_id, s.source_offset, s.amount,
         s.recorded_ms, s.revision,
         coalesce(s.amount = r.amount and s.occurred_ms = r.occurred_ms, false) as same,
         r.amount as record_amount, r.occurred_ms as record_ms
    from record r full join stored s on s.source_offset = r.record_offset and s.account_id = r.account_id
                                    and s.transfer_id = r.transfer_id)
select p.record_offset, p.account_id, p.transfer_id, coalesce(p.source_offset, t.source_offset),
       coalesce(p.amount, t.amount)::text, coalesce(p.recorded_ms, {_finite("t.recorded_at")}, 0),
       coalesce(p.revision, t.revision),
       p.same or coalesce(t.amount = p.record_amount, false)
                 and coalesce({_finite("t.occurred_at")} = p.record_ms, false),
       q.state, b.erased_revision, b.erased_offset, b.balance is null and b.transfer_count = 0
  from paired p
  left join balance b on b.account_id = p.account_id
  left join transfer t on p.source_offset is null and t.account_id = p.account_id
                      and t.transfer_id = p.transfer_id
  left join lateral (
       select min(state) as state from quarantine q
        where p.source_offset is null and q.topic = $9 and q.partition = $1
          and q.source_offset = p.record_offset and q.rejected_by = 'projector') q on true
 where not p.same or b.erased_revision >= p.revision or b.erased_offset > p.source_offset
"""


async def find_differences(
    connection: Connection, topic: str, span: Span, records: Sequence[tuple[Offset, Transfer | None]]
) -> list[Finding]:
    """Returns the records of a span that have no equal row, or whose account was erased, and the other rows.

    `records` are all records of the span; a record that is not admissible has no transfer.
    """
    transfers = [transfer for _, transfer in records]
    columns = (
        [offset for offset, _ in records],
        [transfer and transfer.account for transfer in transfers],
        [transfer and transfer.id for transfer in transfers],
        [transfer and str(transfer.amount) for transfer in transfers],
        [transfer and transfer.time_ms for transfer in transfers],
    )
    lowest = span.start if span.start > 0 else -(2**63)  # no record has a negative offset, but a row may
    rows = await connection.fetch(_COMPARE, span.lane, lowest, span.end, *columns, topic)
    return [_finding(*row) for row in rows]


def _finding(
    offset: Offset | None,
    account: AccountId | None,
    transfer_id: TransferId | None,
    *columns: Any,
) -> Finding:
    row_offset, amount, recorded_at, revision, same, state, erased_revision, erased_offset, is_empty = columns
    row = SqlTransfer(row_offset, _amount(amount), recorded_at, revision, same) if amount else None
    return Finding(offset, account, transfer_id, row, state, erased_revision, erased_offset, is_empty is True)


def _amount(text: str) -> Money | None:
    try:
        return parse_money(text)
    except DecodeError:  # somebody wrote NaN, or more digits than any transfer has
        return None


_COUNTS = [name for name in HourRow._fields if name != "hour"]
_ADD = f"""
insert into reconciliation as old (lane, first_offset, hour, {", ".join(_COUNTS)})
select $1, $2, to_timestamp(x.hour / 1000), {", ".join(f"x.{name}::numeric" for name in _COUNTS)}
  from unnest($3::int8[], $4::int8[], $5::text[], $6::int8[], $7::text[], $8::int8[], $9::int8[], $10::int8[],
              $11::int8[], $12::int8[], $13::int8[], $14::int8[]) as x (hour, {", ".join(_COUNTS)})
on conflict (lane, first_offset, hour) do update
   set checked_at = now(), {", ".join(f"{name} = old.{name} + excluded.{name}" for name in _COUNTS)}
"""
_REMOVE = "delete from reconciliation where lane = $1 and first_offset = $2"
_MOVE_NEWEST = "update reconciliation_lane set compared_next = $2 where lane = $1"
_MOVE_HISTORY = "update reconciliation_lane set history_next = $2 where lane = $1"


async def add_newest(connection: Connection, span: Span, hours: Sequence[HourRow]) -> None:
    """Stores what a span of the newest transfers contains, in addition to what its range contained."""
    await connection.execute(_MOVE_NEWEST, span.lane, span.end)
    await _add(connection, span, hours)


async def replace_range(connection: Connection, span: Span, hours: Sequence[HourRow]) -> None:
    """Stores what a span contains, instead of what its range contained before."""
    await connection.execute(_MOVE_HISTORY, span.lane, span.start)
    await connection.execute(_REMOVE, span.lane, span.first_offset)
    await _add(connection, span, hours)


async def _add(connection: Connection, span: Span, hours: Sequence[HourRow]) -> None:
    if hours:
        await connection.execute(_ADD, span.lane, span.first_offset, *zip(*hours, strict=True))


_BEGIN_ROUND = """
update reconciliation_lane
   set history_next = compared_next, round_began_at = now(),
       round_ended_at = case when round_began_at is not null then now() end
 where lane = $1
"""


async def begin_round(connection: Connection, lane: Lane) -> None:
    """Begins another round through the history of a lane, at its newest transfers."""
    await connection.execute(_BEGIN_ROUND, lane)


# --- accounts whose transfers no balance includes ---

# An older release does not clear `half_applied_since`.
_IS_LATE = (
    f"b.half_applied_since < now() - {_LATE}"
    " and (b.half_applied <> 0 or (b.balance is null and b.transfer_count > 0))"
)
_NOTE_LATE = f"""
insert into half_applied_account (lane, account_id)
select b.lane, b.account_id from balance b
 where b.account_id = any($2) and b.lane = $1 and {_IS_LATE}
   and (select count(*) from half_applied_account where lane = $1) < {_MAX_LATE_ACCOUNTS}
on conflict do nothing
"""


async def note_late_accounts(connection: Connection, lane: Lane, accounts: list[AccountId]) -> None:
    """Notes those of the accounts whose last transfers have been in no balance for 10 s or more.

    An index on the time would cost a large part of the updates of balances (decision 25). These accounts are
    among those of the transfers that are compared.
    """
    await connection.execute(_NOTE_LATE, lane, accounts)


_FORGET_LATE = f"""
delete from half_applied_account h
 where h.lane = $1
   and not exists (select from balance b where b.account_id = h.account_id and b.lane = $1 and {_IS_LATE})
"""
_SUMMARIZE = """
update reconciliation_lane
   set compared_at = case when $3 then now() else compared_at end,
       (missing, different, extra, restored) = (
         select coalesce(sum(r.missing), 0), coalesce(sum(r.different), 0), coalesce(sum(r.extra), 0),
                coalesce(sum(r.restored), 0)
           from reconciliation r
          where r.lane = $1 and r.missing + r.different + r.extra + r.restored > 0),
       (half_applied, half_applied_since) = (
         select count(*), min(b.half_applied_since)
           from half_applied_account h join balance b on b.account_id = h.account_id
          where h.lane = $1)
 where lane = $1 and exists (select from lane where lane = $1 and generation = $2)
"""


async def summarize(connection: Connection, owner: LaneOwner, *, newest_compared: bool = False) -> None:
    """Stores the sums of a lane, and the time if its newest transfers were just compared."""
    await connection.execute(_FORGET_LATE, owner.lane)
    await connection.execute(_SUMMARIZE, *owner, newest_compared)


_READ = f"""
select coalesce(sum(missing), 0)::int8, coalesce(sum(different), 0)::int8, coalesce(sum(extra), 0)::int8,
       coalesce(sum(restored), 0)::int8, {milliseconds("min(compared_at)")},
       coalesce(sum(half_applied), 0)::int8, {milliseconds("min(half_applied_since)")}
  from reconciliation_lane where lane = any($1)
"""


async def read_differences(connection: Connection, lanes: list[Lane]) -> Differences:
    """Returns what differs between Kafka and these lanes together."""
    row = await connection.fetchrow(_READ, lanes)
    assert row is not None
    return Differences(*row)
