"""Work on the lanes that no batch waits for, on a connection of its own."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice

import asyncpg

from livebalance.projector.errors import fate_of
from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel import erasures, lane_totals
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import batch_writes
from livebalance.readmodel.sets.totals import FollowedSets, count_set, forget_sets
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.process import failpoints
from livebalance.wire.identity import Lane, SetName

_CONNECT_SECONDS = 5.0
_TURN_SECONDS = 600.0
_SETS = 20  # counted in a turn

_UncountedSet = tuple[SetName, datetime, list[LaneOwner]]

_log = logs.get("upkeep")


class Upkeep:
    """Counts the accounts of lanes whose totals are unknown, and of sets, and deletes erased transfers.

    See docs/guarantees.md#claim and #erasure.
    """

    def __init__(self, settings: ProjectorSettings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._known_sets: Collection[SetName] = ()  # when the last turn began

    async def start(
        self,
        uncounted: Sequence[OwnedLane],
        erasing: Sequence[OwnedLane],
        followed: FollowedSets,
        owned: Mapping[Lane, OwnedLane],
    ) -> None:
        """Starts a turn, unless there is no work, or the last turn goes on. Called every second.

        Batches add to the totals of the `followed` sets already. All lanes are `owned`.

        Raises:
            Exception: The bug that ended the last turn.
        """
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            await task
        forgets = followed.any_over or followed.since.keys() != self._known_sets
        if self._task is None and (uncounted or erasing or followed.uncounted or forgets):
            self._known_sets = followed.since.keys()
            sets = [
                (name, followed.since[name], _owners([owned[lane] for lane in lanes]))
                for name, lanes in islice(followed.uncounted.items(), _SETS)
            ]
            self._task = asyncio.create_task(
                self._run(_owners(uncounted), _owners(erasing), sets, list(owned) if forgets else [])
            )

    async def aclose(self) -> None:
        """Ends the turn. What it has not committed is left to the next owner of the lanes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(
        self,
        uncounted: list[LaneOwner],
        erasing: list[LaneOwner],
        sets: Sequence[_UncountedSet],
        forgetting: list[Lane],
    ) -> None:
        try:
            async with asyncio.timeout(_TURN_SECONDS), self._connected() as connection:
                if uncounted:
                    await lane_totals.count_totals(connection, uncounted)
                    _log.info("accounts counted", lanes=[owner.lane for owner in uncounted])
                if forgetting:
                    await forget_sets(connection, forgetting)
                for name, since, owners in sets:
                    if wrong := await count_set(connection, name, since, owners):
                        _log.error("totals of a set corrected", set=name.channel, lanes=wrong)
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
