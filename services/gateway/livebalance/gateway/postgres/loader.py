"""Reads accounts from Postgres: many reads in a statement, and few statements at once.

The hub has at most one read of an account in progress. Further reads wait in the queue. A failed statement
fails all its reads, and the next statement starts after a pause with jitter, which grows with each failure.
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

FULL_RETRY = 0.5  # seconds until a read that found no room fails: it is requested again at once
MIN_RETRY, MAX_RETRY = 0.1, 2.0  # seconds; upper bounds of the pause after a first and a later failure

_log = logs.get("loader")

ReadFailure = Literal["unavailable", "queue_full"]  # Postgres did not answer; too many reads are queued
AccountStates = Mapping[Position | None, AccountState]  # the answer for each reader's position


class AccountLoader:
    """Runs `workers` statements at a time. `run` serves until it is cancelled."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        on_read: Callable[[Sequence[tuple[AccountRead, AccountStates]]], None],
        on_failed: Callable[[Sequence[AccountRead], ReadFailure], None],
        queue: ReadQueue,
        *,
        max_revisions: int,
        page_rows: int,
        timeout_seconds: float,
        workers: int,
    ) -> None:
        """Reads deltas of up to `max_revisions`, `page_rows` at a time. A statement has `timeout_seconds`."""
        self._pool = pool
        self._on_read = on_read
        self._on_failed = on_failed
        self._queue = queue
        self._max_revisions = max_revisions
        self._page_rows = page_rows
        self._timeout_seconds = timeout_seconds
        self._workers = workers
        self._requested = asyncio.Event()

    def request(self, reads: Sequence[AccountRead]) -> None:
        """Queues reads. `on_read` or `on_failed` is called for each of them later."""
        if rejected := self._queue.add(reads, time.monotonic()):
            asyncio.get_running_loop().call_later(FULL_RETRY, self._on_failed, rejected, "queue_full")
        self._requested.set()

    async def run(self) -> None:
        """Runs the workers."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        pause = MIN_RETRY
        while True:
            reads = await self._next_batch()
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    answers = await self._read(reads)
            except TRANSIENT as error:
                _log.warning("postgres unavailable", reason=type(error).__name__, reads=len(reads))
                self._on_failed(reads, "unavailable")
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 2, MAX_RETRY)
            else:
                pause = MIN_RETRY
                self._on_read(answers)
                failpoints.at("after_snapshot")

    async def _next_batch(self) -> list[AccountRead]:
        while True:
            batch = self._queue.pop(time.monotonic())
            if isinstance(batch, list):
                return batch
            self._requested.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(batch):
                    await self._requested.wait()

    async def _read(self, reads: list[AccountRead]) -> list[tuple[AccountRead, AccountStates]]:
        metrics.STATEMENTS.inc()
        queries = [AccountQuery(read.account, position) for read in reads for position in read.positions]
        rows = await gateway_reads.read_accounts(self._pool, queries, self._max_revisions, self._page_rows)
        states = iter(rows)
        return [(read, dict(zip(read.positions, states, strict=False))) for read in reads]
