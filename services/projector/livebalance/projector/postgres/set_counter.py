"""Counts the sets that clients follow, beside the batches that add to their totals (decision 46)."""

import time
from collections.abc import Sequence
from itertools import islice

import asyncpg

from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.postgres.turns import Turns
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import batch_writes
from livebalance.readmodel.sets.totals import FollowedSets, count_set, forget_sets, read_uncounted
from livebalance.runtime import logs

_TURN_SECONDS = 60.0
_SETS = 20  # counted in a turn
_LOOK_AGAIN_SECONDS = 30.0  # for sets that are to be counted again
_LOCK_SECONDS = 2.0  # a stopped projector may count a set, too

_log = logs.get("sets")


class SetCounter(Turns):
    """Counts sets, and forgets those that nobody follows any more."""

    def __init__(self, settings: ProjectorSettings) -> None:
        super().__init__(
            settings, "sets", _TURN_SECONDS, lock_timeout=f"{_LOCK_SECONDS}s", **batch_writes.SETTINGS
        )
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
        owners = [LaneOwner(lane.lane, lane.generation) for lane in owned]
        work = dict(followed.since), owners
        is_late = bool(followed.since) and time.monotonic() - self._began_at > _LOOK_AGAIN_SECONDS
        if await self.is_over() and owned and (followed.any_over or is_late or work != self._done):
            self._began_at, self._done = time.monotonic(), None
            self.begin(lambda connection: self._count_all(connection, followed, owners))

    async def _count_all(
        self, connection: Connection, followed: FollowedSets, owners: list[LaneOwner]
    ) -> None:
        await forget_sets(connection, owners)
        if await _count(connection, followed, owners):
            self._done = dict(followed.since), owners


async def _count(connection: Connection, followed: FollowedSets, owners: Sequence[LaneOwner]) -> bool:
    """Counts some sets. Returns whether all are counted."""
    uncounted = await read_uncounted(connection, [owner.lane for owner in owners])
    counted_all = len(uncounted) <= _SETS
    for name, lanes in islice(uncounted.items(), _SETS):
        if (since := followed.since.get(name)) is None:
            continue  # batches do not add to it yet
        try:
            wrong = await count_set(connection, name, since, [each for each in owners if each.lane in lanes])
        except asyncpg.LockNotAvailableError:
            counted_all = False
        else:
            if wrong:
                _log.error("totals of a set corrected", set=name.channel, wrong_lanes=wrong)
    return counted_all
