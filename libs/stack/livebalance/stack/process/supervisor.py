"""A process that is started again each time it ends."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping

from livebalance.stack.process.process import ChildProcess

_POLL = 0.05  # seconds
_PAUSE = (0.2, 10.0)  # seconds before it is started again: the first time, and at most
_SETTLED = 10.0  # seconds after which a process counts as well, and the pause is the first one again

REFUSED = 2  # the exit code of a service that cannot start as it is set up


class Supervisor:
    """Watches one child. `say` hears what happens to it, in words.

    `once`: it may end by itself, and then stays ended.
    """

    def __init__(self, child: ChildProcess, say: Callable[[str], None], *, once: bool = False) -> None:
        self.child = child
        self._say = say
        self._once = once
        self._environment = dict(child.environment)
        self._task: asyncio.Task[None] | None = None

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it, for this one run with these variables besides its own."""
        self.release()
        self.child.environment = {**self._environment, **(environment or {})}
        self.child.start()
        self.watch()

    def watch(self) -> None:
        """Supervisor what was started elsewhere."""
        self._task = asyncio.create_task(self._run(), name=f"watch {self.child.name}")

    def kill(self, *, again: bool = True) -> int:
        """Kill it as by `kill -9`; returns the process id. Not `again`: it stays down until `start`."""
        pid = self.child.pid
        assert pid is not None, f"{self.child.name} is not running"
        if not again:
            self.release()
        self.child.kill()
        return pid

    def release(self) -> None:
        """Supervisor it no longer."""
        if self._task:
            self._task.cancel()
            self._task = None

    async def stop(self, seconds: float = 10.0) -> None:
        """Stop it for good."""
        self.release()
        await asyncio.to_thread(self.child.stop, seconds)

    async def _run(self) -> None:
        shortest, longest = _PAUSE
        ended = 0  # times in a row
        while True:
            began = time.monotonic()
            while self.child.pid is not None:  # noqa: ASYNC110 - a process tells nobody that it ended
                await asyncio.sleep(_POLL)
            if self._once and self.child.exit_code == 0:
                self._say(f"{self.child.name} is done")
                return
            ended = 0 if time.monotonic() - began > _SETTLED else ended
            pause = min(shortest * 2 ** min(ended, 10), longest)
            ended += 1
            self._say(f"{how_it_ended(self.child)}; again in {pause:.1f} s")
            await asyncio.sleep(pause)
            self.child.environment = self._environment
            self.child.start()


def how_it_ended(child: ChildProcess) -> str:
    """In words: the signal that ended it, or the cause that its log gives."""
    code = child.exit_code or 0
    if code < 0:
        return f"{child.name} was ended by {signal.Signals(-code).name}"
    return str(child.trouble(f"stopped with {code}"))
