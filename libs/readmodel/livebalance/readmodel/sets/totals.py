"""Totals of sets, kept per lane in the transaction that writes a batch (decision 46).

A gateway names the sets that its clients follow. The owner of a lane adds to their totals with each batch
from then on, and counts their accounts once. Only then the total of this lane is valid, as long as no
projector of an older release owns the lane.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection.arrays import columns, literals, texts
from livebalance.readmodel.rows import SetDifference
from livebalance.wire.identity import Lane, SetName, parse_set
from livebalance.wire.sets.batch import KeptTotal

COUNTED_AGAIN_AFTER = "10 minutes"


class Executor(Protocol):
    """The part of a connection or pool of asyncpg that `follow_sets` uses."""

    async def execute(self, query: str, *args: Any) -> str:
        """Runs a statement."""
        ...


# The role only reads unless it says so. A gateway that is stopped in between holds its locks for no longer.
_MAY_WRITE = "set transaction read write; set local idle_in_transaction_session_timeout = '2s'"


async def follow_sets(connection: Executor, names: Sequence[SetName]) -> None:
    """Asks the projectors to keep the totals of sets for the next 30 seconds.

    Args:
        connection: A connection of the role `gateway`, in a transaction that has run no statement yet.
        names: The sets. Those beyond 1,000 sets of all gateways are left out.
    """
    await connection.execute(_MAY_WRITE)
    await connection.execute("select follow_sets($1)", [name.channel for name in names])


class FollowedSets(NamedTuple):
    """The sets that clients follow."""

    since: Mapping[SetName, datetime]  # since when each is followed
    any_over: bool = False  # one is not followed any more


_FOLLOWED = "select channel, followed_since, followed_until < now() as is_over from followed_set"


async def read_followed(connection: Connection) -> FollowedSets:
    """Returns the sets that are followed. The caller adds to their totals with its next batch."""
    rows = await connection.fetch(_FOLLOWED)
    return FollowedSets(
        {name: row["followed_since"] for row in rows if (name := parse_set(row["channel"])) is not None},
        any(row["is_over"] for row in rows),
    )


_UNCOUNTED = f"""
select f.channel, array_agg(l.lane order by l.lane) as lanes
  from followed_set f cross join lane l
  left join counted_set c on c.channel = f.channel and c.lane = l.lane and c.generation >= l.kept_since
 where l.lane = any($1) and f.followed_until >= now()
   and (c.channel is null or c.counted_at < now() - interval '{COUNTED_AGAIN_AFTER}')
 group by f.channel order by min(f.followed_since), f.channel
"""


async def read_uncounted(connection: Connection, lanes: list[Lane]) -> dict[SetName, list[Lane]]:
    """Returns those of the lanes that are to count each set: for the first time, or again."""
    rows = await connection.fetch(_UNCOUNTED, lanes)
    return {name: row["lanes"] for row in rows if (name := parse_set(row["channel"])) is not None}


_FORGET = """
delete from followed_set where channel in (
  select channel from followed_set where followed_until < now() for update skip locked)
"""
# Behind the fence, so that no other owner counts a set meanwhile that is followed again. A lane at a time,
# and no total that is locked: then no batch waits for this, if the caller is stopped, but its own.
_FORGET_TOTALS = """
with fence as materialized (select lane from lane where lane = $1 and generation = $2 for no key update)
delete from set_total t using (
  select channel, s.lane, currency, scale from fence join set_total s using (lane)
   where not exists (select from followed_set f where f.channel = s.channel)
     for update of s skip locked) s
 where (t.channel, t.lane, t.currency, t.scale) = (s.channel, s.lane, s.currency, s.scale)
"""


async def forget_sets(connection: Connection, owners: Sequence[LaneOwner]) -> None:
    """Forgets the sets that are not followed any more, and what these lanes keep of sets that were forgotten.

    The foreign key removes what says that a forgotten set was counted. A batch that still adds to its totals
    does no harm: whoever counts the set again adds only what is missing.

    Args:
        connection: A connection of the role `projector`, outside a transaction.
        owners: Lanes of the caller.
    """
    for owner in owners:
        await connection.execute(_FORGET_TOTALS, *owner)
    await connection.execute(_FORGET)


_TYPES = "text int text int int8 numeric"
# Returns the whole total of each set and lane that changed, also the scales that did not change.
_ADD = f"""
with added as materialized (
  select channel collate "C" as channel, lane, currency, scale, accounts, amount
    from unnest({literals(_TYPES, 1)}) as x (channel, lane, currency, scale, accounts, amount)),
changed as (
  insert into set_total as t (channel, lane, currency, scale, accounts, amount)
  select * from added
  on conflict (channel, lane, currency, scale) do update
     set accounts = t.accounts + excluded.accounts, amount = t.amount + excluded.amount
  returning t.*),
total as (
  select * from changed
   union all
  select t.* from (select distinct channel, lane from added) a
   cross join lateral (select * from set_total s where s.channel = a.channel and s.lane = a.lane offset 0) t
   where (t.channel, t.lane, t.currency, t.scale) not in (  -- a hash table, as nothing in it is null
           select channel, lane, currency, scale from added))
select t.channel, t.lane, nullif(t.currency, ''), t.amount::text, t.accounts
  from total t join counted_set c using (channel, lane) join lane l using (lane)
 where c.generation >= l.kept_since
"""


async def add_to_totals(
    connection: Connection, differences: Sequence[SetDifference]
) -> dict[Lane, list[KeptTotal]]:
    """Adds what a batch changes, in its transaction.

    Returns:
        The totals of the changed sets after the batch, of the lanes that have counted them.
    """
    rows = [
        (each.channel, each.lane, each.currency or "", each.scale, each.accounts, str(each.amount))
        for each in differences
    ]
    kept = defaultdict[Lane, list[KeptTotal]](list)
    for channel, lane, currency, amount, accounts in await connection.fetch(
        _ADD, *texts(sorted(rows), _TYPES)
    ):
        kept[Lane(lane)].append(KeptTotal(channel, currency, amount, accounts))
    return kept


_MATCHES = {
    "prefix": """account_id >= $4 collate "C" and account_id < ($4 || '~') collate "C" """,
    "client": "client_id = $4",
}


def _count(kind: str) -> str:
    """Returns the statement that counts a set.

    `counted` and `kept` are of the same snapshot, and each batch since the caller follows the set has added
    its difference, so that what is missing now is missing after each batch. A later owner of the lane, which
    reads the sets after its claim, follows the set as well, because the claim is later than the snapshot, and
    the set is followed until the end of this transaction without a gap. If two counts of a set overlap, the
    second finds that a lane was counted since its snapshot, and leaves it out.
    """
    return f"""
with followed as materialized (
  select channel from followed_set where channel = $1 and followed_since = $5 for key share),
owner as materialized (
  select lane, generation from unnest($2::int[], $3::int8[]) as o (lane, generation)
    join lane using (lane, generation)),
counted as materialized (
  select lane, coalesce(currency, '') as currency, scale(balance) as scale, count(*) as accounts,
         sum(balance) as amount
    from balance
   where {_MATCHES[kind]} and balance is not null and lane in (select lane from owner)
   group by 1, 2, 3),
kept as materialized (
  select lane, currency, scale, accounts, amount
    from set_total where channel = $1 and lane in (select lane from owner)),
missing as materialized (
  select lane, currency, scale, coalesce(c.accounts, 0) - coalesce(k.accounts, 0) as accounts,
         coalesce(c.amount, 0) - coalesce(k.amount, 0) as amount
    from counted c full join kept k using (lane, currency, scale)
   where coalesce(c.accounts, 0) <> coalesce(k.accounts, 0)
      or coalesce(c.amount, 0) <> coalesce(k.amount, 0)),
was_counted as materialized (
  select c.lane, c.counted_at, c.generation >= l.kept_since as is_valid
    from counted_set c join lane l using (lane) where c.channel = $1),
marked as (
  insert into counted_set as c (channel, lane, generation, counted_at)
  select f.channel, o.lane, o.generation, coalesce(w.counted_at, clock_timestamp())
    from followed f cross join owner o left join was_counted w using (lane) order by o.lane
  on conflict (channel, lane) do update
     set generation = excluded.generation, counted_at = clock_timestamp()
   where c.counted_at = excluded.counted_at
  returning c.lane),
added as (
  insert into set_total as t (channel, lane, currency, scale, accounts, amount)
  select $1, m.* from missing m join marked using (lane) order by m.lane, m.currency, m.scale
  on conflict (channel, lane, currency, scale) do update
     set accounts = t.accounts + excluded.accounts, amount = t.amount + excluded.amount)
select count(distinct lane) from missing join marked using (lane) join was_counted using (lane) where is_valid
"""


_COUNT_PREFIX, _COUNT_CLIENT = _count("prefix"), _count("client")


async def count_set(
    connection: Connection, name: SetName, since: datetime, owners: Sequence[LaneOwner]
) -> int:
    """Counts the accounts of a set in lanes of the caller, while batches go on.

    Args:
        connection: A connection of the role `projector`.
        name: The set. The caller has added to its totals since before this call.
        since: Since when the set is followed, as the caller has read it. Another time: nothing is counted.
        owners: The lanes.

    Returns:
        The number of lanes that had counted the set before, and whose totals were wrong.
    """
    statement = _COUNT_PREFIX if name.kind == "prefix" else _COUNT_CLIENT
    wrong = await connection.fetchval(statement, name.channel, *columns(owners, 2), name.value, since)
    return int(wrong)
