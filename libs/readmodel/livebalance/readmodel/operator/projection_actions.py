"""Changes by an operator. Each is recorded in the table `intervention`, in the same transaction."""

from typing import NamedTuple
from uuid import UUID

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.projection.batch_writes import insert_quarantined
from livebalance.readmodel.projection.epoch import (
    change_epoch,
    new_epoch,
    read_projection,
    read_server_identity,
)
from livebalance.readmodel.rows import QuarantineRow
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset

_RECORD = "insert into intervention (what, lane, was, became, why) values ($1, $2, $3, $4, $5)"


async def bump_epoch(connection: Connection, old: Epoch, why: str) -> Epoch | None:
    """Ends the epoch `old` and returns the new epoch; None if another process ended `old` before."""
    new = new_epoch()
    async with connection.transaction():
        if not await change_epoch(connection, old, new, await read_server_identity(connection)):
            return None
        await connection.execute(_RECORD, "epoch", None, old, new, why)
    return new


class LaneOffsets(NamedTuple):
    """Offsets that a lane is read from, and the ids of their topics."""

    transfers: Offset
    balances: Offset
    transfers_topic_id: UUID | None = None
    balances_topic_id: UUID | None = None
    lifecycle: Offset = Offset(0)
    lifecycle_topic_id: UUID | None = None  # None: there is no such topic


class ContinuedLane(NamedTuple):
    """A lane that was halted."""

    halted_why: str
    epoch: Epoch | None  # the new epoch; None: it did not change


_CONTINUE = "update lane set halted_why = null where lane = $1"
_RESTART = """
update lane set transfers_next = $2, transfers_last = null, transfers_fingerprint = null,
                balances_next = $3, balances_last = null, balances_fingerprint = null,
                transfers_topic_id = $4, balances_topic_id = $5,
                lifecycle_next = case when lifecycle_topic_id <> $7 or lifecycle_next < $6 and $7 is not null
                                 then $6 else lifecycle_next end,
                lifecycle_topic_id = coalesce($7, lifecycle_topic_id),
                from_start = from_start and $2::int8 = 0
where lane = $1
"""


# The bounds of erasures are offsets in the topics that were read so far. An erasure covers no transfer of a
# new topic, and still the same balances if only the topic of transfers is another.
_FORGET_TRANSFERS = """
update balance b set erased_transfers_before = 0 from lane l
where l.lane = $1 and b.lane = l.lane and b.erased_transfers_before is not null
  and l.transfers_topic_id is distinct from $2
"""
_FORGET_BOUNDS = """
update balance b set erased_transfers_before = null, erased_balances_before = null from lane l
where l.lane = $1 and b.lane = l.lane and b.erased_transfers_before is not null
  and l.balances_topic_id is distinct from $2
"""

PIECE = 5_000  # accounts
_IS_MOVING = (
    "select halted_why is not null and transfers_topic_id is distinct from $2 from lane where lane = $1"
)
_MOVE_PIECE = """
with piece as (
  select account_id from balance where lane = $1 and account_id > $2 order by account_id limit $3),
moved as (
  update balance b set moved_revision = b.revision from piece p where b.account_id = p.account_id)
select max(account_id) from piece
"""


async def move_accounts(connection: Connection, lane: Lane, transfers_topic_id: UUID | None) -> None:
    """Marks what a halted lane has listed as transfers of a former topic, if it moves to another topic.

    Called before `continue_lane` with a start. The accounts are marked in pieces, so that no transaction is
    long. Marking them again, or in vain, changes nothing while the lane is halted.
    """
    if await connection.fetchval(_IS_MOVING, lane, transfers_topic_id):
        last: str | None = ""
        while last is not None:
            last = await connection.fetchval(_MOVE_PIECE, lane, last, PIECE)


async def continue_lane(
    connection: Connection, lane: Lane, start: LaneOffsets | None, why: str
) -> ContinuedLane | None:
    """Lets a halted lane continue: a projector may claim it again. Returns None if the lane is not halted.

    Args:
        connection: A connection of the role `operator`.
        lane: The lane.
        start: Offsets to read the lane from, in a new epoch. None: it continues where it stands.
        why: The operator's reason.
    """
    async with connection.transaction():
        await connection.execute("select from projection for update")  # the lock order of `change_epoch`
        halted_why = await connection.fetchval("select halted_why from lane where lane = $1 for update", lane)
        if halted_why is None:
            return None
        epoch = None if start is None else await _restart(connection, lane, start)
        await connection.execute(_CONTINUE, lane)
        await connection.execute(_RECORD, "lane", lane, halted_why, epoch, why)
    return ContinuedLane(halted_why, epoch)


async def _restart(connection: Connection, lane: Lane, start: LaneOffsets) -> Epoch:
    projection = await read_projection(connection)
    assert projection is not None, "lanes exist only with a projection"
    new = new_epoch()
    await change_epoch(connection, projection.epoch, new, await read_server_identity(connection))
    await connection.execute(_FORGET_TRANSFERS, lane, start.transfers_topic_id)
    await connection.execute(_FORGET_BOUNDS, lane, start.balances_topic_id)
    await connection.execute(_RESTART, lane, *start)
    return new


async def halted_offsets(connection: Connection, lane: Lane) -> LaneOffsets | None:
    """Returns the next offsets of a lane, or None if the lane is not halted."""
    row = await connection.fetchrow(
        "select transfers_next, balances_next, transfers_topic_id, balances_topic_id, lifecycle_next"
        " from lane where lane = $1 and halted_why is not null",
        lane,
    )
    return None if row is None else LaneOffsets(*row)


# The last record read stays: a claim still compares its fingerprint, so a recreated topic is detected.
_SKIP = """
update lane set transfers_next = $2, balances_next = $3, lifecycle_next = $4
where lane = $1 and transfers_next = $5 and balances_next = $6 and lifecycle_next = $7
  and halted_why is not null
returning halted_why
"""


async def skip_record(
    connection: Connection, skipped: QuarantineRow, was: LaneOffsets, becomes: LaneOffsets, why: str
) -> bool:
    """Quarantines the next record of a halted lane and moves the lane past it. The lane stays halted.

    Args:
        connection: A connection of the role `operator`.
        skipped: The record.
        was: The next offsets of the lane, at which the record was read.
        becomes: The next offsets after the record.
        why: The operator's reason.

    Returns:
        False if the lane is no longer halted at these offsets. Then nothing is written.
    """
    lane = skipped.partition
    async with connection.transaction():
        new, old = ((offsets.transfers, offsets.balances, offsets.lifecycle) for offsets in (becomes, was))
        halted_why = await connection.fetchval(_SKIP, lane, *new, *old)
        if halted_why is None:
            return False
        await insert_quarantined(connection, [skipped])
        record = f"{skipped.topic}/{lane}@{skipped.source_offset}: {halted_why}"
        await connection.execute(_RECORD, "skip", lane, record, None, why)
    return True


async def account_lane(connection: Connection, account: AccountId) -> Lane | None:
    """Returns the lane of an account; None if the projection does not have the account."""
    lane: int | None = await connection.fetchval("select lane from balance where account_id = $1", account)
    return None if lane is None else Lane(lane)


async def record_erasure(connection: Connection, lane: Lane, account: AccountId, why: str) -> None:
    """Records that an operator erases an account, in a transaction of the caller."""
    await connection.execute(_RECORD, "erase", lane, account, None, why)
