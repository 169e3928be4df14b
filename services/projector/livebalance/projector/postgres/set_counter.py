"""Counts the sets that clients follow, beside the batches that add to their totals (decision 46)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from itertools import islice

import asyncpg

from livebalance.projector.errors import fate_of
from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import batch_writes
from livebalance.readmodel.sets.totals import FollowedSets, count_set, forget_sets, read_uncounted
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate

_CONNECT_SECONDS = 5.0
_TURN_SECONDS = 60.0
_SETS = 20  # counted in a turn
_LOOK_AGAIN_SECONDS = 30.0  # for sets that are to be counted again
_LOCK_SECONDS = 2.0  # a stopped projector may count a set, too

_log = logs.get("sets")


class SetCounter:
    """Counts sets in turns, and forgets those that nobody follows any more. On a connection of its own."""

    def __init__(self, settings: ProjectorSettings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._done: object = None  # the sets and lanes of the last turn, if it left nothing to do
        self._began_at = 0.0

    async def start(self, followed: FollowedSets, owned: Sequence[OwnedLane]) -> None:
        """Starts a turn, unless there is no work, or the last turn goes on. Called every second.

        Args:
            followed: The sets. Batches add to their totals already.
            owned: All lanes of this process.

        Raises:
            Exception: The bug that ended the last turn.
        """
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            await task
        owners = [LaneOwner(lane.lane, lane.generation) for lane in owned]
        work = dict(followed.since), owners
        is_late = bool(followed.since) and time.monotonic() - self._began_at > _LOOK_AGAIN_SECONDS
        if self._task is None and owned and (followed.any_over or is_late or work != self._done):
            self._began_at = time.monotonic()
            self._task = asyncio.create_task(self._run(followed, owners))

    async def aclose(self) -> None:
        """Ends the turn. What it has not committed is left to the next owner of the lanes."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, followed: FollowedSets, owners: list[LaneOwner]) -> None:
        self._done = None
        try:
            async with asyncio.timeout(_TURN_SECONDS), self._connected() as connection:
                await forget_sets(connection, owners)
                if await self._count(connection, followed, owners):
                    self._done = dict(followed.since), owners
        except Exception as error:
            if fate_of(error) is Fate.BUG:
                raise
            _log.warning("counting of sets interrupted", error=repr(error))

    async def _count(
        self, connection: Connection, followed: FollowedSets, owners: Sequence[LaneOwner]
    ) -> bool:
        """Counts some sets. Returns whether all are counted."""
        uncounted = await read_uncounted(connection, [owner.lane for owner in owners])
        counted_all = len(uncounted) <= _SETS
        for name, lanes in islice(uncounted.items(), _SETS):
            if (since := followed.since.get(name)) is None:
                continue  # batches do not add to it yet
            try:
                wrong = await count_set(
                    connection, name, since, [each for each in owners if each.lane in lanes]
                )
            except asyncpg.LockNotAvailableError:
                counted_all = False
            else:
                if wrong:
                    _log.error("totals of a set corrected", set=name.channel, wrong_lanes=wrong)
        return counted_all

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(
            self._settings.postgres.get_secret_value(),
            timeout=_CONNECT_SECONDS,
            server_settings={
                "application_name": f"{self._settings.name} sets",
                "lock_timeout": f"{_LOCK_SECONDS}s",
                **batch_writes.SETTINGS,
            },
        )
        try:
            yield connection
        finally:
            connection.terminate()
