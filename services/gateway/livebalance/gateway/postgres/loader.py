"""Postgres in: reads of accounts, many in one statement, few statements at once.

The hub has at most one read of an account on its way. Those that wait take turns; a statement that fails
fails all its reads, and the next one waits, longer each time, with jitter.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import asyncpg

from livebalance.gateway.live.effects import AccountRead
from livebalance.gateway.postgres.read_queue import ReadQueue
from livebalance.gateway.telemetry import metrics
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState
from livebalance.runtime import logs
from livebalance.runtime.process import failpoints
from livebalance.wire.identity import Position

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds at most after a failure

_log = logs.get("snapshots")

Failure = Literal["unavailable", "queue_full"]  # Postgres did not answer; too many wait for it
Answers = Mapping[Position | None, AccountState]


class AccountLoader:
    """Each of `workers` runs one statement at a time. `run` serves until it is cancelled."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        answered: Callable[[Sequence[tuple[AccountRead, Answers]]], None],
        failed: Callable[[Sequence[AccountRead], Failure], None],
        turns: ReadQueue,
        *,
        resume_max: int,
        page_rows: int,
        deadline: float,
        workers: int,
    ) -> None:
        """`deadline`: seconds a statement has."""
        self._pool = pool
        self._answered = answered
        self._failed = failed
        self._resume_max = resume_max
        self._page_rows = page_rows
        self._deadline = deadline
        self._turns = turns
        self._workers = workers
        self._some = asyncio.Event()

    def ask(self, wanted: Sequence[AccountRead]) -> None:
        """`answered` or `failed` is called for each, later."""
        if refused := self._turns.ask(wanted, time.monotonic()):
            asyncio.get_running_loop().call_soon(self._failed, refused, "queue_full")
        self._some.set()

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
            except TRANSIENT as reason:
                _log.warning("postgres is away", reason=type(reason).__name__, reads=len(some))
                self._failed(some, "unavailable")
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
                self._answered(found)
                failpoints.at("after_snapshot")

    async def _next(self) -> list[AccountRead]:
        while True:
            turn = self._turns.next(time.monotonic())
            if isinstance(turn, list):
                return turn
            self._some.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(turn):
                    await self._some.wait()

    async def _read(self, some: list[AccountRead]) -> list[tuple[AccountRead, Answers]]:
        metrics.STATEMENTS.inc()
        asked = [AccountQuery(one.account, after) for one in some for after in one.afters]
        found = iter(await gateway_reads.accounts(self._pool, asked, self._resume_max, self._page_rows))
        return [(one, dict(zip(one.afters, found, strict=False))) for one in some]
