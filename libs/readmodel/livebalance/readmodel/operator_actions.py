"""What an operator does to the projection by hand: it is done and written down in one transaction."""

from typing import NamedTuple

from livebalance.readmodel.projector_writes import (
    Connection,
    change_epoch,
    new_epoch,
    projection,
    server_identity,
)
from livebalance.wire.identity import Epoch, Lane, Offset

_NOTE = "insert into intervention (what, lane, was, became, why) values ($1, $2, $3, $4, $5)"


async def bump_epoch(connection: Connection, old: Epoch, why: str) -> Epoch | None:
    """Ends epoch `old` and returns the new one; None when another process has ended it before."""
    new = new_epoch()
    async with connection.transaction():
        if not await change_epoch(connection, old, new, await server_identity(connection)):
            return None
        await connection.execute(_NOTE, "epoch", None, old, new, why)
    return new


class LaneBegin(NamedTuple):
    """Where both sides of a lane are read from."""

    transfers: Offset
    balances: Offset


class LaneContinued(NamedTuple):
    was: str  # why the lane was halted
    epoch: Epoch | None  # the new one; None: it is the same


_GO_ON = "update lane set halted_why = null where lane = $1"
_BEGIN = """
update lane set transfers_next = $2, transfers_last = null, transfers_fingerprint = null,
                balances_next = $3, balances_last = null, balances_fingerprint = null,
                from_start = from_start and $2::int8 = 0
where lane = $1
"""


async def go_on(
    connection: Connection, lane: Lane, begin: LaneBegin | None, why: str
) -> LaneContinued | None:
    """A halted lane may be claimed again; None when it is not halted.

    `begin`: from there, whatever was read before, and in a new epoch; None: from where it stands.
    """
    async with connection.transaction():
        await connection.execute("select from projection for update")  # first, as whoever ends an epoch does
        was = await connection.fetchval("select halted_why from lane where lane = $1 for update", lane)
        if was is None:
            return None
        epoch = None if begin is None else await _begin(connection, lane, begin)
        await connection.execute(_GO_ON, lane)
        await connection.execute(_NOTE, "lane", lane, was, epoch, why)
    return LaneContinued(was, epoch)


async def _begin(connection: Connection, lane: Lane, begin: LaneBegin) -> Epoch:
    found = await projection(connection)
    assert found is not None, "there are no lanes without one"
    new = new_epoch()
    await change_epoch(connection, found.epoch, new, await server_identity(connection))
    await connection.execute(_BEGIN, lane, *begin)
    return new
