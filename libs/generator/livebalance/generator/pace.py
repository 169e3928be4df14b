"""Paces transfers: says how many are due at a time."""

import math

UNLIMITED = math.inf
_MAX_BACKLOG_SECONDS = 1.0
_BATCH_SECONDS = 0.01  # at 1,000 a second, sending transfers singly costs more CPU than processing them


class Pace:
    """`per_second` transfers a second. Transfers that are due within 10 ms are due together.

    A backlog of more than a second is dropped.
    """

    def __init__(self, per_second: float, now: float) -> None:
        self._rate, self._next, self._ready = per_second, now, now

    def consume(self, now: float, limit: int) -> int:
        """Returns how many transfers are due, up to `limit`, and counts them as sent."""
        if self._rate == UNLIMITED:
            return limit
        if now < self._ready:
            return 0
        due = min(limit, 1 + int((now - self._next) * self._rate))
        self._next = max(self._next + due / self._rate, now - _MAX_BACKLOG_SECONDS)
        self._ready = max(self._next, now + _BATCH_SECONDS)
        return due

    def seconds_until_due(self, now: float) -> float:
        """Returns the seconds until the next transfer is due."""
        return 0.0 if self._rate == UNLIMITED else max(0.0, self._ready - now)
