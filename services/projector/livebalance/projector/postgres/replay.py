"""Reads the quarantined records that an operator has marked for replay."""

import asyncio
import time

from livebalance.projector.fold.records import Incoming, decode_quarantined
from livebalance.projector.postgres.store import Store
from livebalance.projector.settings import ProjectorSettings
from livebalance.runtime import logs
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import Lane

_REGISTRY_TIMEOUT_SECONDS = 1.0  # short, because all lanes wait meanwhile
_RETRY_SECONDS = 10.0

_log = logs.get("replay")


class QuarantineReplay:
    """Reads records to replay. While the schema registry is unavailable, they wait without blocking lanes."""

    def __init__(self, settings: ProjectorSettings, store: Store, values: Values) -> None:
        self._topics = settings.transfers_topic, settings.balances_topic
        self._store, self._values, self._max_scale = store, values, settings.max_scale
        self._retry_at = 0.0

    async def read(self, lanes: list[Lane]) -> list[tuple[int, Incoming]]:
        """Returns records of `lanes` with their ids in the quarantine; at most 500 at once."""
        if time.monotonic() < self._retry_at:
            return []
        rows = await self._store.records_to_replay(lanes)
        try:
            async with asyncio.timeout(_REGISTRY_TIMEOUT_SECONDS):
                await self._values.fetch_schemas(row.raw.value for row in rows)
        except OSError as error:
            _log.warning("replay postponed", error=repr(error))
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            return []
        codec, max_scale = self._values.codec, self._max_scale
        return [(row.id, decode_quarantined(row.raw, *self._topics, codec, max_scale)) for row in rows]
