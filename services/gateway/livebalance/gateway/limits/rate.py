"""How often something may happen."""


class RateLimiter:
    """`burst` at once, and `per_second` over time: the generic cell rate algorithm (ITU-T I.371, annex A).

    One number says all: when the bucket will be full again.
    """

    __slots__ = ("_depth", "_full_at", "_interval")

    def __init__(self, per_second: float, burst: float) -> None:
        self._interval = 1 / per_second
        self._depth = burst / per_second  # seconds
        self._full_at = 0.0

    def wait(self, now: float, count: int = 1) -> float:
        """Seconds until there is enough; 0: there is."""
        wait = max(self._full_at, now) + count * self._interval - now - self._depth
        return wait if wait > 1e-9 else 0.0  # less is rounding

    def take(self, now: float, count: int = 1) -> float:
        """0: there was enough, and it is taken. Else the seconds until there is, and nothing is taken."""
        if wait := self.wait(now, count):
            return wait
        self.owe(now, count)
        return 0.0

    def owe(self, now: float, count: int) -> None:
        """Takes it though there may not be so much: the next waits the longer."""
        self._full_at = max(self._full_at, now) + count * self._interval

    def is_full(self, now: float) -> bool:
        """Nothing was taken that counts any more: a new one is as good."""
        return self._full_at <= now
