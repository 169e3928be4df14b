"""A timer that can be set again, for whatever is due next."""

import asyncio
from collections.abc import Callable

from livebalance.gateway.clock import uptime


class Timer:
    """Calls `callback` at the time that was set last, once."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._due: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, due: float | None) -> None:
        """Sets the time, in seconds by `uptime`, in place of an earlier time. None: no call."""
        if due == self._due:
            return
        if self._handle:
            self._handle.cancel()
        self._handle, self._due = None, due
        if due is not None:
            self._handle = asyncio.get_running_loop().call_later(due - uptime(), self._call)

    def _call(self) -> None:
        self._due = None
        self._callback()
