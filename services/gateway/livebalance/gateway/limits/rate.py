"""A rate limiter: the generic cell rate algorithm (ITU-T I.371, annex A)."""


class RateLimiter:
    """Allows `burst` at once, and `per_second` on average. Times are monotonic seconds.

    Its whole state is the time at which the full burst is available again.
    """

    __slots__ = ("_burst_seconds", "_full_at", "_interval")

    def __init__(self, per_second: float, burst: float) -> None:
        self._interval = 1 / per_second
        self._burst_seconds = burst / per_second
        self._full_at = 0.0

    def wait(self, now: float, count: int = 1) -> float:
        """Returns the seconds until `count` is available (0: now)."""
        wait = max(self._full_at, now) + count * self._interval - now - self._burst_seconds
        return wait if wait > 1e-9 else 0.0  # less is a rounding error

    def try_acquire(self, now: float, count: int = 1) -> float:
        """Acquires `count` and returns 0, or acquires nothing and returns the seconds to wait."""
        if wait := self.wait(now, count):
            return wait
        self.consume(now, count)
        return 0.0

    def consume(self, now: float, count: int) -> None:
        """Acquires `count` even if it is not available. Later callers wait longer."""
        self._full_at = max(self._full_at, now) + count * self._interval

    def is_full(self, now: float) -> bool:
        """Returns whether the full burst is available, as in a new limiter."""
        return self._full_at <= now
