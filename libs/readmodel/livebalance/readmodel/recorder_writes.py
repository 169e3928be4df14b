"""Statements of a recorder: its halted partitions, and the transfers that it rejected (decision 18)."""

from collections.abc import Sequence

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.rows import QuarantineRow, RecorderLane, SourceIdentity
from livebalance.wire.identity import Lane, Offset

# A partition that is new begins with the topics of the others, so that added partitions are noticed. Without
# others, it begins with the number of partitions that the projection was built from.
_CREATE = """
insert into recorder_lane (lane, partitions, transfers_id, balances_id)
select $1, coalesce(known.partitions, built.partitions, $2), coalesce(known.transfers_id, $3),
       coalesce(known.balances_id, $4)
  from (select) one
  left join (select * from recorder_lane order by lane limit 1) known on true
  left join (select partitions from projection) built on true
on conflict (lane) do nothing
"""
_READ = """
select partitions, transfers_id, balances_id, other_sources, halted_why, continued, start_offset
  from recorder_lane where lane = $1
"""


async def read_lane(connection: Connection, lane: Lane, identity: SourceIdentity) -> RecorderLane:
    """Returns the row of a partition. Creates it first if the partition was never claimed."""
    await connection.execute(_CREATE, lane, *identity)
    row = await connection.fetchrow(_READ, lane)
    assert row is not None, "rows are never deleted"
    return RecorderLane(SourceIdentity(*row[:3]), *row[3:])


_ACCEPT = """
update recorder_lane
   set partitions = $2, transfers_id = $3, balances_id = $4, other_sources = other_sources or $5,
       since = case when transfers_id = $3 then since else clock_timestamp() end,
       continued = false, start_offset = null, next_offset = null
 where lane = $1
"""


async def accept_lane(
    connection: Connection, lane: Lane, identity: SourceIdentity, other_sources: bool
) -> None:
    """Stores what the claim of a continued partition has accepted."""
    await connection.execute(_ACCEPT, lane, *identity, other_sources)


# A start that no claim has accepted yet stays.
_HALT = """
update recorder_lane
   set halted_why = $2, next_offset = $3, start_offset = case when continued then start_offset end,
       continued = false
 where lane = $1 and halted_why is null
"""


async def halt_lane(connection: Connection, lane: Lane, why: str, next_offset: Offset | None) -> None:
    """Halts a partition, unless it is halted already. `next_offset`: of the next transfer, if known."""
    await connection.execute(_HALT, lane, why, next_offset)


async def continued_lanes(connection: Connection, halted: list[Lane]) -> list[Lane]:
    """Returns those of the halted partitions that an operator has let continue."""
    rows = await connection.fetch(
        "select lane from recorder_lane where lane = any($1) and halted_why is null", halted
    )
    return [Lane(row["lane"]) for row in rows]


_REJECTED = """
select q.source_offset from quarantine q join recorder_lane l on l.lane = q.partition
 where q.topic = $1 and q.partition = $2 and q.source_offset >= $3 and q.rejected_by = 'recorder'
   and q.held_at >= l.since
"""


async def rejected_offsets(connection: Connection, topic: str, lane: Lane, first: Offset) -> set[Offset]:
    """Returns the offsets from `first` on of transfers that a recorder has rejected."""
    return {Offset(row[0]) for row in await connection.fetch(_REJECTED, topic, lane, first)}


_QUARANTINE = """
insert into quarantine (topic, partition, source_offset, key, value, header_bytes, kafka_time, reason, state,
                        rejected_by)
values ($1, $2, $3, $4, $5, $6,
        to_timestamp($7::int8 / 1000) + ($7::int8 % 1000) * interval '1 millisecond', $8, $9, 'recorder')
on conflict (topic, partition, source_offset, kafka_time) where rejected_by = 'recorder' do nothing
"""


async def insert_rejected(connection: Connection, rows: Sequence[QuarantineRow]) -> None:
    """Inserts transfers into the quarantine. A transfer that is there already stays as it is."""
    await connection.executemany(_QUARANTINE, rows)
