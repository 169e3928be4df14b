"""Work on the lanes that no batch waits for."""

import asyncio
import time
from collections.abc import Sequence

from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.postgres.turns import Turns
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel import erasures, lane_totals
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import batch_writes
from livebalance.runtime import logs
from livebalance.runtime.process import failpoints

_TURN_SECONDS = 600.0

_log = logs.get("upkeep")


class Upkeep(Turns):
    """Counts the accounts of lanes whose totals are unknown, and deletes erased transfers.

    See docs/guarantees.md#claim and #erasure.
    """

    def __init__(self, settings: ProjectorSettings) -> None:
        super().__init__(settings, "upkeep", _TURN_SECONDS, **batch_writes.SETTINGS)

    async def start(self, uncounted: Sequence[OwnedLane], erasing: Sequence[OwnedLane]) -> None:
        """Starts a turn, unless there is no work, or the last turn goes on. Called every second.

        Raises:
            Exception: The bug that ended the last turn.
        """
        if await self.is_over() and (uncounted or erasing):
            to_count, to_erase = _owners(uncounted), _owners(erasing)
            self.begin(lambda connection: _work(connection, to_count, to_erase))


def _owners(lanes: Sequence[OwnedLane]) -> list[LaneOwner]:
    return [LaneOwner(lane.lane, lane.generation) for lane in lanes]


async def _work(connection: Connection, uncounted: list[LaneOwner], erasing: list[LaneOwner]) -> None:
    if uncounted:
        await lane_totals.count_totals(connection, uncounted)
        _log.info("accounts counted", lanes=[owner.lane for owner in uncounted])
    for owner in erasing:
        await _delete_erased(connection, owner)


async def _delete_erased(connection: Connection, owner: LaneOwner) -> None:
    """Deletes the erased transfers of a lane. Rests as long as each piece takes, so that batches go on."""
    _log.info("deleting erased transfers", lane=owner.lane)
    start = time.monotonic()
    while await erasures.delete_piece(connection, owner):
        failpoints.at("after_erased_piece")
        await asyncio.sleep(time.monotonic() - start)
        start = time.monotonic()
