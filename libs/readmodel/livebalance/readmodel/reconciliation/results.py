"""Stores how far lanes are compared with Kafka, what was counted, and which accounts wait for a balance."""

from collections.abc import Sequence
from typing import NamedTuple

from livebalance.readmodel.connection import Connection, milliseconds
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.reconciliation.differences import Span
from livebalance.readmodel.rows import Differences, HourRow
from livebalance.wire.identity import AccountId, Lane, Offset

_LATE = "interval '10 seconds'"  # a recorder needs less
_MAX_LATE_ACCOUNTS = 10_000  # kept for each lane


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
