"""What an operator does to the projection by hand: it is done and written down in one transaction."""

from livebalance.readmodel.writes import Connection, change_epoch, new_epoch, server_identity
from livebalance.wire.identity import Epoch

_NOTE = "insert into intervention (what, lane, was, became, why) values ($1, $2, $3, $4, $5)"


async def bump_epoch(connection: Connection, old: Epoch, why: str) -> Epoch | None:
    """Ends epoch `old` and returns the new one; None when another process has ended it before."""
    new = new_epoch()
    async with connection.transaction():
        if not await change_epoch(connection, old, new, await server_identity(connection)):
            return None
        await connection.execute(_NOTE, "epoch", None, old, new, why)
    return new
