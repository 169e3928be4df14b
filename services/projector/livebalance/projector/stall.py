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
        self._heard = time.monotonic()
        self.reason: str | None = None  # why not all is well

    async def look(self, lanes: Collection[Lane]) -> None:
        """Raises StalledError after a minute of it; a broker that is away is no stall."""
        now = time.monotonic()
        if await self._intake.silence(lanes) < _SUSPECT:
            self._heard, self.reason = now, None
            return
        try:
            behind = await self._intake.is_behind(lanes)
        except (KafkaError, TimeoutError):
            self._heard, self.reason = now, "kafka does not answer"
            return
        self.reason = f"nothing fetched for {_SUSPECT:.0f} s although there is more" if behind else None
        if behind and now - self._heard > _GIVE_UP:
            raise StalledError(self.reason)
