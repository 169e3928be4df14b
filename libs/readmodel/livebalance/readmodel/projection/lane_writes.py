"""Statements on lanes: claims, halts, and moves, which are the fence (docs/guarantees.md#fence)."""

from collections.abc import Sequence

from livebalance.readmodel.connection import Connection, row_count, timestamptz
from livebalance.readmodel.projection.arrays import arrays, columns
from livebalance.readmodel.rows import LaneMove, LaneRow, TopicIds
from livebalance.wire.identity import Lane

_CLAIM = """
update lane set generation = generation + 1, owner = $2,
                transfers_topic_id = coalesce(transfers_topic_id, $3),
                balances_topic_id = coalesce(balances_topic_id, $4),
                lifecycle_topic_id = coalesce(lifecycle_topic_id, $5),
                totals_generation = case when totals_generation = generation then generation + 1 end,
                batches = batches + case when batches_generation = generation then 0 else 1 end,
                kept_since = case when kept_generation = generation then kept_since
                                  else generation + 1 end,
                kept_generation = generation + 1,
                batches_generation = generation + 1
where lane = $1
returning lane, generation, epoch, transfers_next, balances_next, transfers_last, transfers_fingerprint,
          balances_last, balances_fingerprint, halted_why, from_start, transfers_topic_id, balances_topic_id,
          lifecycle_next, lifecycle_topic_id, batches
"""
_UNKNOWN_IDS = TopicIds()


async def claim_lane(
    connection: Connection, lane: Lane, owner: str, topic_ids: TopicIds = _UNKNOWN_IDS
) -> LaneRow:
    """Makes `owner` the lane's owner and increases its generation, which fences the previous owner.

    Waits for the lock of the lane's row (docs/guarantees.md#locks). Stores those of `topic_ids` that the row
    lacks.

    Raises:
        asyncpg.LockNotAvailableError: The lock was not released within the connection's `lock_timeout`.
    """
    row = await connection.fetchrow(_CLAIM, lane, owner, *topic_ids)
    assert row is not None, "lanes are created before they are claimed"
    return LaneRow(*row)


# The xmax of a locked row is the transaction that holds the lock.
_TERMINATE = """
select pg_terminate_backend(a.pid)
from lane join pg_locks k on k.locktype = 'transactionid' and k.transactionid = lane.xmax and k.granted
join pg_stat_activity a on a.pid = k.pid and a.usename = current_user
where lane.lane = $1 and a.pid <> pg_backend_pid()
"""


async def terminate_lock_holder(connection: Connection, lane: Lane) -> int:
    """Terminates the backend that holds the lock of the lane's row, if it belongs to the same role.

    Returns:
        The number of terminated backends, 0 or 1.
    """
    return len(await connection.fetch(_TERMINATE, lane))


async def any_lane_continued(connection: Connection, halted: list[Lane]) -> bool:
    """Returns whether an operator has let one of these halted lanes continue."""
    query = "select exists (select from lane where lane = any($1) and halted_why is null)"
    return bool(await connection.fetchval(query, halted))


_LANE_TYPES = (
    "int int8 text int8 int8 int8 int8 int8 bytea int8 bytea int8 int8 text int8 int8 int8 int8 int8"
)
MOVE = f"""
update lane l set
  transfers_next = m.transfers_to, balances_next = m.balances_to,
  transfers_last = coalesce(m.transfers_last, l.transfers_last),
  transfers_fingerprint = coalesce(m.transfers_fingerprint, l.transfers_fingerprint),
  balances_last = coalesce(m.balances_last, l.balances_last),
  balances_fingerprint = coalesce(m.balances_fingerprint, l.balances_fingerprint),
  last_event_at = greatest(l.last_event_at, {timestamptz("m.event_ms")}),
  as_of = greatest(l.as_of, {timestamptz("m.as_of_ms")}),
  halted_why = m.halted_why,
  disputed = l.disputed + m.disputed, drifting = l.drifting + m.drifting,
  unverified = l.unverified + m.unverified,
  lifecycle_next = coalesce(m.lifecycle_next, l.lifecycle_next),
  batches = l.batches + m.batches
from unnest({arrays(_LANE_TYPES)})
  as m (lane, generation, epoch, transfers_from, balances_from, transfers_to, balances_to, transfers_last,
        transfers_fingerprint, balances_last, balances_fingerprint, event_ms, as_of_ms, halted_why,
        disputed, drifting, unverified, lifecycle_next, batches)
where l.lane = m.lane and l.generation = m.generation and l.epoch = m.epoch
  and l.transfers_next = m.transfers_from and l.balances_next = m.balances_from
"""


async def move_lanes(connection: Connection, moves: Sequence[LaneMove]) -> int:
    """Moves lanes without writing a batch (docs/guarantees.md#fence).

    Returns:
        The number of lanes moved. If it is less than `len(moves)`, another process owns a lane.
    """
    return row_count(await connection.execute(MOVE, *columns(moves, len(LaneMove._fields))))
