"""Whether clients may come here: not while what they need is away, nor once this gateway is going."""

from collections.abc import Sequence
from typing import NamedTuple

AUDITED_WITHIN = 15.0  # seconds


class Readiness:
    """`leaving`: nobody should be sent here any more; `draining`: nor is let in."""

    def __init__(self) -> None:
        self.leaving = self.draining = False
        self.redis_here = False
        self.audited_at: float | None = None

    def not_ready(self, keys: bool, now: float) -> str | None:
        """Why no new client should come here; None: one may. `keys`: tokens can be checked."""
        return "draining" if self.leaving else self._unable(keys, now)

    def closed(self, keys: bool, now: float) -> str | None:
        """Why a client that is here already is not let in."""
        return "draining" if self.draining else self._unable(keys, now)

    def _unable(self, keys: bool, now: float) -> str | None:
        if not self.redis_here:
            return "redis is away"
        if not keys:
            return "no keys or revocations yet"
        if self.audited_at is None or self.audited_at < now - AUDITED_WITHIN:
            return "no audit of late"
        return None


MOMENT = 1.0  # seconds in which everyone may hear that it is asked to go, and go


class DrainSlot(NamedTuple):
    at: float  # seconds from the beginning
    retry_after_ms: int


def drain_schedule(within: float, window: float, chances: Sequence[float]) -> list[DrainSlot]:
    """One for each of `chances`, which are in [0, 1): evenly spread over `within` seconds, but for a moment.

    Who comes back after the time given comes alone: each has a slot of the window (s), and a chance in its
    first half, so that neighbours stay apart.
    """
    count, moment = len(chances), min(MOMENT, within / 5)
    return [
        DrainSlot(
            moment + (place + 0.5) / count * (within - moment),
            int((place + chance / 2) / count * window * 1000),
        )
        for place, chance in enumerate(chances)
    ]
