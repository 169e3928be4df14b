"""Notices that the consumer has stopped fetching while there is something to fetch.

aiokafka can do that after a rebalance, without a signal; only a new process helps.
"""

import time
from collections.abc import Collection

from aiokafka.errors import KafkaError

from livebalance.projector.intake import Intake
from livebalance.wire.identity import Lane

_SUSPECT = 10.0  # seconds without an answer to a fetch
_GIVE_UP = 60.0


class StalledError(Exception):
    """The consumer has not fetched for a minute although the broker has more."""


class Watchdog:
    """Asks the broker itself once a partition was silent for too long."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._heard = 0.0
        self.reason: str | None = None  # why not all is well

    def begin(self) -> None:
        """Lanes were claimed: nothing can have been fetched yet."""
        self._heard, self.reason = time.monotonic(), None

    async def look(self, lanes: Collection[Lane]) -> None:
        """Raises StalledError after a minute of it; a broker that is away is no stall."""
        if await self._intake.silence(lanes) < _SUSPECT:
            self.begin()
            return
        silent = time.monotonic() - self._heard
        if silent < _SUSPECT:
            return
        try:
            behind = await self._intake.is_behind(lanes)
        except (KafkaError, TimeoutError):
            self.reason = "kafka does not answer"
            return
        self.reason = f"nothing fetched for {silent:.0f} s although there is more" if behind else None
        if behind and silent > _GIVE_UP:
            raise StalledError(self.reason)
