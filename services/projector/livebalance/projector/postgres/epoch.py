"""Whether Postgres still holds what was written to it; if not, the epoch changes (design, rule of epoch)."""

from collections.abc import Sequence

from livebalance.projector import metrics
from livebalance.readmodel import projector_writes
from livebalance.readmodel.rows import LaneStart
from livebalance.runtime import logs
from livebalance.runtime.errors import StartupError
from livebalance.wire.identity import Epoch

_log = logs.get("truth")


class StandbyError(ConnectionError):
    """This server is a standby that was not promoted yet."""


async def check_server_identity(connection: projector_writes.Connection, starts: Sequence[LaneStart]) -> None:
    """Makes the projection known to be on this server, for a connection just opened.

    `starts`: of each lane, where it is begun if no projection was here before.
    Another system identifier or timeline than the stored ones: commits may be lost, so the epoch changes.
    Raises RefusedError when the topics' partition count is not the projection's, StandbyError.
    """
    server = await projector_writes.server_identity(connection)
    if server.timeline == "standby":
        raise StandbyError("this server is a standby")
    found = await projector_writes.projection(connection)
    if found is None:
        await projector_writes.open_projection(connection, projector_writes.new_epoch(), server, starts)
        found = await projector_writes.projection(connection)
    assert found is not None
    partitions = len(starts)
    if found.partitions != partitions:
        raise StartupError(
            f"the topics have {partitions} partitions, the projection was built from {found.partitions}:"
            " go on with topics of that many, or rebuild into an empty database"
        )
    if not found.known:
        await change_epoch(connection, found.epoch, "another server or timeline")


async def change_epoch(connection: projector_writes.Connection, old: Epoch, why: str) -> None:
    """Ends epoch `old`, unless another process has done so already."""
    new = projector_writes.new_epoch()
    if await projector_writes.change_epoch(
        connection, old, new, await projector_writes.server_identity(connection)
    ):
        metrics.epoch_changes.inc()
        _log.warning("the epoch changed", old=old, new=new, why=why)
