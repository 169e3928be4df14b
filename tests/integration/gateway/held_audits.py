"""Audits that run only when a test allows it."""

import asyncio

import pytest

from livebalance.gateway.postgres.audit import Audit


class HeldAudits:
    """Holds each audit of this process until the test allows it. The first `allowed` are not held.

    An audit is held before it reads the positions of the accounts, so that it compares them as they are when
    the test allows it.
    """

    def __init__(self, patch: pytest.MonkeyPatch, allowed: int) -> None:
        self._allowed, self._compare_all = asyncio.Semaphore(allowed), Audit._compare_all
        self._held = asyncio.Event()

        async def compare_all(audit: Audit) -> None:
            if self._allowed.locked():
                self._held.set()
            await self._allowed.acquire()
            await self._compare_all(audit)

        patch.setattr(Audit, "_compare_all", compare_all)

    async def until_held(self) -> None:
        """Waits until an audit is held, so that none runs that began before."""
        async with asyncio.timeout(30):
            await self._held.wait()

    def allow_next(self) -> None:
        """Allows the next whole audit."""
        self._held.clear()
        self._allowed.release()
