"""Changes by an operator. Each is recorded in the table `intervention`, in the same transaction."""

from typing import NamedTuple

from livebalance.readmodel.projector_writes import (
    Connection,
    change_epoch,
    new_epoch,
    read_projection,
    read_server_identity,
)
from livebalance.wire.identity import Epoch, Lane, Offset

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
    """Offsets in both topics that a lane is read from."""

    transfers: Offset
    balances: Offset


class ContinuedLane(NamedTuple):
    """A lane that was halted."""

    halted_why: str
    epoch: Epoch | None  # the new epoch; None: it did not change


_CONTINUE = "update lane set halted_why = null where lane = $1"
_RESTART = """
update lane set transfers_next = $2, transfers_last = null, transfers_fingerprint = null,
                balances_next = $3, balances_last = null, balances_fingerprint = null,
                from_start = from_start and $2::int8 = 0
where lane = $1
"""


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
    await connection.execute(_RESTART, lane, *start)
    return new
