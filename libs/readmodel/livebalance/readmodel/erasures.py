"""Deletes the transfers of erased accounts, in pieces (docs/guarantees.md#erasure)."""

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner

PIECE_REVISIONS = 5_000  # deleted at once, so that the lane's next batch waits for no more than some ms

# `deleted_revision` moves with each piece, so that none of them reads what earlier pieces have deleted.
_DELETE = f"""
with fence as materialized (select lane from lane where lane = $1 and generation = $2 for no key update),
piece as materialized (
  select b.account_id, b.deleted_revision as after,
         least(b.deleted_revision + {PIECE_REVISIONS}, b.erased_revision) as up_to
    from fence join balance b on b.lane = fence.lane and b.erased_revision > b.deleted_revision
   order by b.account_id limit 1),
deleted as (
  delete from transfer t using piece p
   where t.account_id = p.account_id and t.revision > p.after and t.revision <= p.up_to)
update balance b set deleted_revision = p.up_to from piece p where b.account_id = p.account_id
"""


async def delete_piece(connection: Connection, owner: LaneOwner) -> bool:
    """Deletes a piece of the erased transfers of a lane, in a transaction behind the fence.

    Returns:
        False if nothing was deleted: nothing is left, or another process owns the lane.
    """
    return await connection.execute(_DELETE, owner.lane, owner.generation) == "UPDATE 1"
