"""Reads sets from Postgres, one after the other: a set may have thousands of members.

After a read the loader rests for a time that grows with the members, so that the reads of all sets together
take a small part of the event loop and of Postgres.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence

import asyncpg

from livebalance.gateway.live.sets.set_channel import SetRead
from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.sets.reads import SetState, read_set
from livebalance.runtime import logs

MEMBERS_PER_SECOND = 20_000
MIN_RETRY, MAX_RETRY = 0.1, 2.0  # seconds; upper bounds of the pause after a first and a later failure

_log = logs.get("sets")


class SetLoader:
    """Runs a statement at a time. `run` serves until it is cancelled.

    The hub has at most one current read of a set. The others are dropped when it is their turn.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        on_read: Callable[[SetRead, SetState], None],
        on_failed: Callable[[SetRead], None],
        *,
        is_current: Callable[[SetRead], bool],
        max_accounts: int,
        timeout_seconds: float,
    ) -> None:
        """Reads up to `max_accounts` members of a set. A statement has `timeout_seconds`."""
        self._pool = pool
        self._on_read = on_read
        self._on_failed = on_failed
        self._is_current = is_current
        self._max_accounts = max_accounts
        self._timeout_seconds = timeout_seconds
        self._queue: deque[SetRead] = deque()
        self._requested = asyncio.Event()

    def request(self, reads: Sequence[SetRead]) -> None:
        """Queues reads. `on_read` or `on_failed` is called for each of them later."""
        self._queue.extend(reads)
        self._requested.set()

    async def run(self) -> None:
        """Reads sets, and retries while Postgres is unavailable."""
        pause = MIN_RETRY
        while True:
            while not self._queue:
                self._requested.clear()
                await self._requested.wait()
            read = self._queue.popleft()
            if not self._is_current(read):
                continue  # nobody waits for it any more: its set was left, and perhaps subscribed again
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    state = await read_set(self._pool, read.name, self._max_accounts)
            except TRANSIENT as error:
                _log.warning("set not read", reason=str(error) or type(error).__name__)
                self._on_failed(read)
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 2, MAX_RETRY)
            else:
                pause = MIN_RETRY
                self._on_read(read, state)
                await asyncio.sleep(len(state.members) / MEMBERS_PER_SECOND)
