"""Postgres in: reads of accounts, many in one statement, few statements at once.

The hub has at most one read of an account on its way. Those that wait go together in the next statement; a
statement that fails fails all its reads, and the next one waits, longer each time, with jitter.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import asyncpg

from livebalance.gateway.away import AWAY
from livebalance.gateway.effects import Read
from livebalance.readmodel import reads
from livebalance.readmodel.reads import Asked, Found
from livebalance.runtime import crash, logs
from livebalance.wire.identity import Position

PAIRS = 200  # of account and position in one statement
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds at most after a failure

_log = logs.get("snapshots")

Answers = Mapping[Position | None, Found]


class Snapshots:
    """Each of `workers` runs one statement at a time. `run` serves until it is cancelled."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        answered: Callable[[Sequence[tuple[Read, Answers]]], None],
        failed: Callable[[Sequence[Read]], None],
        *,
        resume_max: int,
        page_rows: int,
        deadline: float,
        per_second: int,
        waiting: int,
        workers: int,
    ) -> None:
        """Seconds; `per_second` and `waiting` count reads. With more waiting, a read fails at once."""
        self._pool = pool
        self._answered = answered
        self._failed = failed
        self._resume_max = resume_max
        self._page_rows = page_rows
        self._deadline = deadline
        self._per_second = per_second / workers
        self._limit = waiting
        self._workers = workers
        self._queue: deque[Read] = deque()
        self._some = asyncio.Event()

    def ask(self, wanted: Sequence[Read]) -> None:
        """`answered` or `failed` is called for each, later."""
        room = max(self._limit - len(self._queue), 0)
        self._queue.extend(wanted[:room])
        self._some.set()
        if wanted[room:]:
            asyncio.get_running_loop().call_soon(self._failed, wanted[room:])

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        pause = FIRST_PAUSE
        while True:
            some = await self._next()
            try:
                async with asyncio.timeout(self._deadline):
                    found = await self._read(some)
            except AWAY as reason:
                _log.warning("postgres is away", reason=type(reason).__name__, reads=len(some))
                self._failed(some)
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
                self._answered(found)
                crash.at("after_snapshot")
                await asyncio.sleep(len(some) / self._per_second)

    async def _next(self) -> list[Read]:
        """What waits, up to `PAIRS` pairs and at least one read."""
        while not self._queue:
            self._some.clear()
            await self._some.wait()
        some = [self._queue.popleft()]
        pairs = len(some[0].afters)
        while self._queue and (pairs := pairs + len(self._queue[0].afters)) <= PAIRS:
            some.append(self._queue.popleft())
        return some

    async def _read(self, some: list[Read]) -> list[tuple[Read, Answers]]:
        asked = [Asked(one.account, after) for one in some for after in one.afters]
        found = iter(await reads.accounts(self._pool, asked, self._resume_max, self._page_rows))
        return [(one, dict(zip(one.afters, found, strict=False))) for one in some]
