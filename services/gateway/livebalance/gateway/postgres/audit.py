"""Compares every subscribed account with Postgres, again and again, and reads the progress of the lanes.

The accounts are spread over the interval in slices, a statement for each. A statement compares revisions, and
the content that Redis has delivered since the previous audit. It returns only differences.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import asyncpg

from livebalance.readmodel import gateway_reads
from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.gateway_reads import AuditFinding, ContentDigest
from livebalance.runtime import logs
from livebalance.wire.identity import AccountId, Position

SLICE_ACCOUNTS = 1000  # in one statement
RETRY_SECONDS = 1.0

_log = logs.get("audit")

AccountPositions = Mapping[AccountId, Position]


def slices(accounts: Sequence[AccountId], size: int = SLICE_ACCOUNTS) -> list[Sequence[AccountId]]:
    """Returns the accounts in slices, or one empty slice: its statement still reads the lanes."""
    return [accounts[start : start + size] for start in range(0, max(len(accounts), 1), size)]


def count_findings(compared: AccountPositions, finding: AuditFinding) -> Counter[str]:
    """Counts the accounts that differ in Postgres.

    Keys are `epoch` (another epoch), `ahead` (a higher revision in Postgres), `back` (a lower revision) and
    `content` (other content up to the same revision).
    """
    counts = Counter(epoch=sum(position.epoch != finding.epoch for position in compared.values()))
    for account, revision in finding.revisions.items():
        position = compared[account]
        if position.epoch == finding.epoch:
            counts["ahead" if revision > position.revision else "back"] += 1
    counts["content"] = sum(compared[account].epoch == finding.epoch for account in finding.different)
    return counts


class Audit:
    """The loop of the audit. `run` serves until it is cancelled."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        accounts: Callable[[], Sequence[AccountId]],
        positions: Callable[[Sequence[AccountId]], AccountPositions],
        on_compared: Callable[[AccountPositions, AuditFinding], None],
        on_failed: Callable[[], None],
        *,
        contents: Callable[[AccountPositions], Mapping[AccountId, ContentDigest]],
        on_complete: Callable[[], None],
        interval_seconds: float,
        timeout_seconds: float,
    ) -> None:
        """Compares each of `accounts` once in every interval.

        `positions` returns the positions of those accounts that the hub knows, and `contents` what was
        relayed of them. A statement may take `timeout_seconds`. `on_complete` is called when all accounts
        were compared since `accounts` was last called.
        """
        self._pool = pool
        self._accounts = accounts
        self._positions = positions
        self._contents = contents
        self._on_compared = on_compared
        self._on_failed = on_failed
        self._on_complete = on_complete
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._requested = asyncio.Event()

    def run_now(self) -> None:
        """Compares every account at once. Called when messages may be lost."""
        self._requested.set()

    async def run(self) -> None:
        """Audits, and retries while Postgres is unavailable."""
        while True:
            try:
                await self._compare_all()
            except TRANSIENT as error:
                _log.warning("postgres unavailable", reason=type(error).__name__)
                self._on_failed()
                await self._pause(RETRY_SECONDS)

    async def _compare_all(self) -> None:
        parts = slices(self._accounts())
        pause = 0.0 if self._requested.is_set() else self._interval_seconds / len(parts)
        self._requested.clear()
        for part in parts:
            await self._compare(self._positions(part))
            if part is parts[-1]:
                self._on_complete()
            if await self._pause(pause):
                return  # starts again with all accounts
        if not pause:
            await self._pause(self._interval_seconds)

    async def _compare(self, positions: AccountPositions) -> None:
        contents = self._contents(positions)
        async with asyncio.timeout(self._timeout_seconds):
            finding = await gateway_reads.read_audit(self._pool, positions, contents)
        self._on_compared(positions, finding)

    async def _pause(self, seconds: float) -> bool:
        """Waits, and returns whether `run_now` ended the pause."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._requested.wait()
        return self._requested.is_set()
