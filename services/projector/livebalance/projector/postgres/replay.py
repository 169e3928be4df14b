"""Records in quarantine that an operator has marked, read again."""

import asyncio
import time

from livebalance.projector.fold.records import Incoming, again
from livebalance.projector.postgres.store import Store
from livebalance.projector.settings import ProjectorSettings
from livebalance.runtime import logs
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import Lane

_REGISTRY_SECONDS = 1.0  # the longest wait for it, which all lanes share
_AWAY_SECONDS = 10.0  # until it is asked again

_log = logs.get("marked")


class QuarantineReplay:
    """While the schema registry is away these wait, and hold up nothing else."""

    def __init__(self, settings: ProjectorSettings, store: Store, values: Values) -> None:
        self._topics = settings.transfers_topic, settings.balances_topic
        self._store, self._values = store, values
        self._next = 0.0

    async def read(self, lanes: list[Lane]) -> list[tuple[int, Incoming]]:
        """Those of these lanes, by their id; not all at once, if there are many."""
        if time.monotonic() < self._next:
            return []
        rows = await self._store.marked(lanes)
        try:
            async with asyncio.timeout(_REGISTRY_SECONDS):
                await self._values.learn(row.value for row in rows)
        except OSError as error:
            _log.warning("what is marked waits for the schema registry", error=repr(error))
            self._next = time.monotonic() + _AWAY_SECONDS
            return []
        return [(row.id, again(row, *self._topics, self._values.codec)) for row in rows]
