"""Checks that Postgres is still the server that was written to. If not, the epoch changes.

See docs/guarantees.md#epoch.
"""

from collections.abc import Sequence

from livebalance.projector import metrics
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.projection import epoch
from livebalance.readmodel.rows import LaneStart
from livebalance.runtime import logs
from livebalance.runtime.errors import StartupError
from livebalance.wire.identity import Epoch

_log = logs.get("epoch")


class StandbyError(ConnectionError):
    """The server is a standby that is not promoted yet."""


async def check_server_identity(connection: Connection, starts: Sequence[LaneStart]) -> None:
    """Compares the server's identity with the projection's. Called for each new connection.

    Changes the epoch if the system identifier or the timeline differs, because commits may be lost.
    Creates the projection if the database is empty; its lanes begin at `starts`.

    Raises:
        StartupError: the topics' partition count differs from the projection's.
        StandbyError: the server is a standby.
    """
    server = await epoch.read_server_identity(connection)
    if server.timeline == "standby":
        raise StandbyError("this server is a standby")
    projection = await epoch.read_projection(connection)
    if projection is None:
        await epoch.create_projection(connection, epoch.new_epoch(), server, starts)
        projection = await epoch.read_projection(connection)
    assert projection is not None
    partitions = len(starts)
    if projection.partitions != partitions:
        raise StartupError(
            f"the topics have {partitions} partitions, the projection was built from {projection.partitions}:"
            f" use topics with {projection.partitions} partitions, or rebuild into an empty database"
        )
    if not projection.known:
        await change_epoch(connection, projection.epoch, "another server or timeline")


async def change_epoch(connection: Connection, old: Epoch, reason: str) -> None:
    """Replaces epoch `old` by a new epoch, unless another process has replaced it already."""
    new = epoch.new_epoch()
    if await epoch.change_epoch(connection, old, new, await epoch.read_server_identity(connection)):
        metrics.epoch_changes.inc()
        _log.warning("epoch changed", old=old, new=new, reason=reason)
