"""One timer, for what is due next."""

import asyncio
import time
from collections.abc import Callable


class Timer:
    """Calls `ring` when it is time, once for each time it is set to."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, due: float | None) -> None:
        """For a moment of the monotonic clock, in seconds, instead of any before; None: for none."""
        if due == self._due:
            return
        if self._timer:
            self._timer.cancel()
        self._timer, self._due = None, due
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(due - time.monotonic(), self._rings)

    def _rings(self) -> None:
        self._due = None
        self._ring()
