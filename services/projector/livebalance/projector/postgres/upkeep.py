"""Work on the lanes that no batch waits for, on a connection of its own."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import asyncpg

from livebalance.projector.errors import fate_of
from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel import erasures, lane_totals
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import batch_writes
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.process import failpoints

_CONNECT_SECONDS = 5.0
_TURN_SECONDS = 600.0

_log = logs.get("upkeep")


class Upkeep:
    """Counts the accounts of lanes whose totals are unknown, and deletes erased transfers.

    See docs/guarantees.md#claim and #erasure.
    """

    def __init__(self, settings: ProjectorSettings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    async def start(self, uncounted: Sequence[OwnedLane], erasing: Sequence[OwnedLane]) -> None:
        """Starts a turn, unless there is no work, or the last turn goes on. Called every second.

        Raises:
            Exception: The bug that ended the last turn.
        """
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            await task
        if self._task is None and (uncounted or erasing):
            self._task = asyncio.create_task(self._run(_owners(uncounted), _owners(erasing)))

    async def aclose(self) -> None:
        """Ends the turn. What it has not committed is left to the next owner of the lanes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, uncounted: list[LaneOwner], erasing: list[LaneOwner]) -> None:
        try:
            async with asyncio.timeout(_TURN_SECONDS), self._connected() as connection:
                if uncounted:
                    await lane_totals.count_totals(connection, uncounted)
                    _log.info("accounts counted", lanes=[owner.lane for owner in uncounted])
                for owner in erasing:
                    await _delete_erased(connection, owner)
        except Exception as error:
            if fate_of(error) is Fate.BUG:
                raise
            _log.warning("upkeep interrupted", error=repr(error))

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(
            self._settings.postgres.get_secret_value(),
            timeout=_CONNECT_SECONDS,
            server_settings={"application_name": self._settings.name, **batch_writes.SETTINGS},
        )
        try:
            yield connection
        finally:
            connection.terminate()


def _owners(lanes: Sequence[OwnedLane]) -> list[LaneOwner]:
    return [LaneOwner(lane.lane, lane.generation) for lane in lanes]


async def _delete_erased(connection: Connection, owner: LaneOwner) -> None:
    """Deletes the erased transfers of a lane. Rests as long as each piece takes, so that batches go on."""
    _log.info("deleting erased transfers", lane=owner.lane)
    start = time.monotonic()
    while await erasures.delete_piece(connection, owner):
        failpoints.at("after_erased_piece")
        await asyncio.sleep(time.monotonic() - start)
        start = time.monotonic()
