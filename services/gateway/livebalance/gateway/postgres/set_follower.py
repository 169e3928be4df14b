"""Tells the projectors, in Postgres, which sets clients of this gateway follow (decision 46)."""

import asyncio
import time
from collections.abc import Callable, Sequence

import asyncpg

from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.sets.totals import follow_sets
from livebalance.runtime import logs
from livebalance.wire.identity import SetName

TICK_SECONDS = 1.0
AGAIN_AFTER_SECONDS = 10.0  # projectors forget a set after 30 seconds

# A standby, or a schema from before the totals were kept.
_NOT_POSSIBLE = (
    asyncpg.FeatureNotSupportedError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.UndefinedFunctionError,
)

_log = logs.get("sets")


class SetFollower:
    """Names the sets again and again. `run` serves until it is cancelled.

    Without it totals are not kept, and the gateway has nothing to compare its sums with.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        followed: Callable[[], Sequence[SetName]],
        *,
        timeout_seconds: float,
    ) -> None:
        """Names the sets that `followed` returns. A transaction has `timeout_seconds`."""
        self._pool = pool
        self._followed = followed
        self._timeout_seconds = timeout_seconds

    async def run(self) -> None:
        """Names new sets within a second, and all sets again every ten seconds."""
        named, named_at = frozenset[SetName](), 0.0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            names, now = self._followed(), time.monotonic()
            if now >= named_at + AGAIN_AFTER_SECONDS:
                named, named_at = frozenset(), now
            if unnamed := [name for name in names if name not in named]:
                try:
                    async with asyncio.timeout(self._timeout_seconds):
                        await self._follow(unnamed)
                except (*TRANSIENT, *_NOT_POSSIBLE) as error:
                    _log.warning("sets not followed", reason=str(error) or type(error).__name__)
            named = frozenset(names)

    async def _follow(self, names: Sequence[SetName]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await follow_sets(connection, names)
