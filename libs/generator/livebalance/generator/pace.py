"""When transfers are due."""

import math

UNLIMITED = math.inf
_FORGIVEN = 1.0  # seconds
_TOGETHER = 0.01  # seconds; a thousand a second, sent one by one, would be more load than their whole way


class Pace:
    """`per_second` transfers a second, those due within 10 ms together.

    What it is more than a second behind by is never made up for.
    """

    def __init__(self, per_second: float, now: float) -> None:
        self._rate, self._next, self._ready = per_second, now, now

    def take(self, now: float, most: int) -> int:
        """How many are due at `now`, up to `most`; they are not due again."""
        if self._rate == UNLIMITED:
            return most
        if now < self._ready:
            return 0
        due = min(most, 1 + int((now - self._next) * self._rate))
        self._next = max(self._next + due / self._rate, now - _FORGIVEN)
        self._ready = max(self._next, now + _TOGETHER)
        return due

    def wait(self, now: float) -> float:
        """Seconds until `take` has some."""
        return 0.0 if self._rate == UNLIMITED else max(0.0, self._ready - now)
