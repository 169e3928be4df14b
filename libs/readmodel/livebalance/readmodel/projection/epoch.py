"""Statements on the projection as a whole: its server, its creation, its epoch (docs/guarantees.md#epoch)."""

import secrets
from collections.abc import Sequence

from livebalance.readmodel.connection import Connection, row_count
from livebalance.readmodel.rows import LaneStart, Projection, ServerIdentity
from livebalance.wire.identity import Epoch


async def read_server_identity(connection: Connection) -> ServerIdentity:
    """Returns the identity of the Postgres server that answers."""
    row = await connection.fetchrow("select system_identifier, timeline from server_identity")
    assert row is not None
    return ServerIdentity(*row)


async def read_projection(connection: Connection) -> Projection | None:
    """Returns the projection, or None before a projector has created it."""
    row = await connection.fetchrow("select epoch, known, partitions from truth")
    return None if row is None else Projection(*row)


async def create_projection(
    connection: Connection, epoch: Epoch, server: ServerIdentity, starts: Sequence[LaneStart]
) -> None:
    """Creates the projection and its lanes, unless another process has created them before."""
    async with connection.transaction():
        inserted = await connection.execute(
            "insert into projection (epoch, system_identifier, timeline, partitions) values ($1, $2, $3, $4)"
            " on conflict (one) do nothing",
            epoch,
            *server,
            len(starts),
        )
        if row_count(inserted):
            await connection.executemany(
                "insert into lane (lane, transfers_next, balances_next, generation, epoch, from_start,"
                " totals_generation) values ($1, $2, $3, 0, $5, $4, 0)",
                [(*start, epoch) for start in starts],
            )


def new_epoch() -> Epoch:
    """Returns a random epoch. Epochs have no order, so that nobody compares them."""
    return Epoch(secrets.token_hex(8))


_CHANGE_EPOCH = """
update projection set epoch = $2, system_identifier = $3, timeline = $4 where epoch = $1
"""


async def change_epoch(connection: Connection, old: Epoch, new: Epoch, server: ServerIdentity) -> bool:
    """Replaces the epoch `old` by `new`, and the known server by `server` (docs/guarantees.md#epoch).

    Returns:
        False if `old` is no longer the epoch.
    """
    async with connection.transaction():
        if row_count(await connection.execute(_CHANGE_EPOCH, old, new, *server)) == 0:
            return False
        await connection.execute("update lane set epoch = $1, as_of = null", new)
        return True
