"""Audits that run only when a test allows it."""

import asyncio
from typing import Any

import pytest

from livebalance.readmodel import gateway_reads
from livebalance.readmodel.gateway_reads import AuditFinding


class HeldAudits:
    """Holds each audit of this process until the test allows it. The first `allowed` are not held."""

    def __init__(self, patch: pytest.MonkeyPatch, allowed: int) -> None:
        self._allowed, self._read = asyncio.Semaphore(allowed), gateway_reads.read_audit
        patch.setattr(gateway_reads, "read_audit", self._read_audit)

    async def _read_audit(self, *arguments: Any) -> AuditFinding:
        await self._allowed.acquire()
        return await self._read(*arguments)

    def allow_next(self) -> None:
        """Allows the next whole audit, and that before it, which may have begun."""
        for _ in range(2):
            self._allowed.release()
