"""Lanes that wait for schemas of their records (decision 15)."""

import asyncio
import random
from collections.abc import Sequence

from livebalance.runtime import logs
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import Lane

_RETRY_SECONDS = 2.0

_log = logs.get("schemas")


class WaitingLanes:
    """Fetches the schemas of each lane in a task of its own, so that no lane waits for another."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._tasks: dict[Lane, asyncio.Task[None]] = {}

    def __contains__(self, lane: Lane) -> bool:
        return lane in self._tasks

    def add(self, lane: Lane, values: Sequence[bytes | None]) -> None:
        """Lets a lane wait until the schemas of its values are fetched."""
        self._tasks[lane] = asyncio.create_task(self._fetch(lane, values))

    def pop_ready(self) -> list[Lane]:
        """Removes and returns the lanes whose schemas are fetched. Raises the exception of a task: a bug."""
        ready = [lane for lane, task in self._tasks.items() if task.done()]
        for lane in ready:
            self._tasks.pop(lane).result()
        return ready

    def remove(self, lane: Lane) -> None:
        """Removes a lane, if it waits."""
        if task := self._tasks.pop(lane, None):
            task.cancel()

    def clear(self) -> None:
        """Removes all lanes."""
        for lane in list(self._tasks):
            self.remove(lane)

    async def _fetch(self, lane: Lane, values: Sequence[bytes | None]) -> None:
        while not self._values.knows_schemas(values):
            try:
                await self._values.fetch_schemas(values)
            except OSError as error:
                _log.warning("lane waits for a schema", lane=lane, error=repr(error))
                await asyncio.sleep(random.uniform(_RETRY_SECONDS / 4, _RETRY_SECONDS))
