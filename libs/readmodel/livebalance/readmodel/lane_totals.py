"""Totals of lanes: numbers of their accounts. Each batch of the lane's owner adds its difference.

A projector of an older release adds nothing. A claim shows this: the generation grows by 1, and an older
release does not let `totals_generation` grow with it. Then the next owner counts the accounts once.
"""

from typing import NamedTuple

from livebalance.readmodel.connection import Connection, milliseconds
from livebalance.readmodel.rows import LanesTotals, Totals
from livebalance.wire.identity import Lane

# Reads a row per lane, and an entry per lane of the indexes `balance_unverified` and `balance_erasing`.
_READ = f"""
select coalesce(sum(l.disputed) filter (where counted), 0)::int8,
       coalesce(sum(l.drifting) filter (where counted), 0)::int8,
       coalesce(sum(l.unverified) filter (where counted), 0)::int8,
       {milliseconds("min(oldest.unverified_since)")},
       coalesce(array_agg(l.lane) filter (where not counted), '{{}}'),
       coalesce(array_agg(l.lane) filter (where erasing), '{{}}')
  from (select *, totals_generation is not distinct from generation as counted from lane) l
  left join lateral (select b.unverified_since from balance b
                      where b.lane = l.lane and b.unverified_since is not null
                        and not (not l.from_start and b.opening is null and b.transfer_count = 0)
                      order by b.unverified_since limit 1) oldest on true
 cross join lateral (
       select exists (select from balance b where b.lane = l.lane
                         and b.erased_revision > b.deleted_revision) as erasing) e
 where l.lane = any($1)
"""


async def read_totals(connection: Connection, lanes: list[Lane]) -> LanesTotals:
    """Returns the totals of these lanes together."""
    row = await connection.fetchrow(_READ, lanes)
    assert row is not None
    return LanesTotals(Totals(*row[:3]), row[3], row[4], row[5])


class LaneOwner(NamedTuple):
    """A lane, and the generation in which a process owns it."""

    lane: Lane
    generation: int


# Batches may commit while the accounts are counted. They add to the row of the lane that the update then
# changes, while `seen` is of the same snapshot as the count. The difference of both is what is missing.
_COUNT = """
with seen as materialized (
  select l.* from lane l join unnest($1::int[], $2::int8[]) as o (lane, generation) using (lane, generation)),
counted as materialized (
  select lane, count(disputed_since) as disputed, count(*) filter (where drift <> 0) as drifting,
         count(unverified_since) as unverified
    from balance where lane in (select lane from seen) group by lane)
update lane l set disputed = l.disputed - s.disputed + coalesce(c.disputed, 0),
                  drifting = l.drifting - s.drifting + coalesce(c.drifting, 0),
                  unverified = l.unverified - s.unverified + coalesce(c.unverified, 0),
                  totals_generation = l.generation
  from seen s left join counted c on c.lane = s.lane
 where l.lane = s.lane and l.generation = s.generation
"""


async def count_totals(connection: Connection, owners: list[LaneOwner]) -> None:
    """Counts all accounts of these lanes, while batches go on. Leaves out lanes that have another owner."""
    async with connection.transaction():
        await connection.execute("set local enable_seqscan = on")
        await connection.execute(_COUNT, *map(list, zip(*owners, strict=True)))
