"""Followed accounts are compared with Postgres all the time; the same statements tell how far the lanes are.

The accounts of a period are spread over it in slices, and only differences come back.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import asyncpg

from livebalance.readmodel import gateway_reads
from livebalance.readmodel.errors import TRANSIENT
from livebalance.readmodel.gateway_reads import AuditFinding
from livebalance.runtime import logs
from livebalance.wire.identity import AccountId, Position

SLICE = 1000  # accounts in one statement
RETRY = 1.0  # seconds

_log = logs.get("audit")

Followed = Mapping[AccountId, Position]


def slices(accounts: Sequence[AccountId], size: int = SLICE) -> list[Sequence[AccountId]]:
    """At least one, if empty: the lanes are asked for in any case."""
    return [accounts[start : start + size] for start in range(0, max(len(accounts), 1), size)]


def findings(asked: Followed, finding: AuditFinding) -> Counter[str]:
    """How many accounts are elsewhere in Postgres, by how: of another epoch, further, or not as far."""
    found = Counter(epoch=sum(at.epoch != finding.epoch for at in asked.values()))
    for account, revision in finding.revisions.items():
        at = asked[account]
        if at.epoch == finding.epoch:
            found["ahead" if revision > at.revision else "back"] += 1
    return found


class Audit:
    """`run` serves until it is cancelled."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        accounts: Callable[[], Sequence[AccountId]],
        positions: Callable[[Sequence[AccountId]], Followed],
        audited: Callable[[Followed, AuditFinding], None],
        failed: Callable[[], None],
        *,
        period: float,
        deadline: float,
    ) -> None:
        """`accounts` are followed; `positions` tells where they are, of those that are anywhere. Seconds."""
        self._pool = pool
        self._accounts = accounts
        self._positions = positions
        self._audited = audited
        self._failed = failed
        self._period = period
        self._deadline = deadline
        self._hurry = asyncio.Event()

    def now(self) -> None:
        """Do not wait for the next period: much may have been lost."""
        self._hurry.set()

    async def run(self) -> None:
        while True:
            try:
                await self._round()
            except TRANSIENT as reason:
                _log.warning("postgres is away", reason=type(reason).__name__)
                self._failed()
                await self._pause(RETRY)

    async def _round(self) -> None:
        parts = slices(self._accounts())
        spread = 0.0 if self._hurry.is_set() else self._period / len(parts)
        self._hurry.clear()
        for part in parts:
            await self._compare(self._positions(part))
            if await self._pause(spread):
                return  # and begin again, with all of them
        if not spread:
            await self._pause(self._period)

    async def _compare(self, asked: Followed) -> None:
        async with asyncio.timeout(self._deadline):
            finding = await gateway_reads.audit(self._pool, asked)
        self._audited(asked, finding)

    async def _pause(self, seconds: float) -> bool:
        """Whether it was cut short."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        return self._hurry.is_set()
