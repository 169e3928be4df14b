"""Restarts a process each time it ends."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping

from livebalance.stack.process.process import ChildProcess

_POLL_SECONDS = 0.05
_MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.2, 10.0  # before a restart; the pause doubles with each failure
_SETTLED_SECONDS = 10.0  # a process that ran this long counts as healthy: the pause is the shortest again

STARTUP_ERROR = 2  # exit code of a service that cannot start with its settings


class Supervisor:
    """Supervises a child process. Passes a line about each end and restart of the process to `report`.

    With `once`, the process may end with exit code 0 and is then not restarted.
    """

    def __init__(self, child: ChildProcess, report: Callable[[str], None], *, once: bool = False) -> None:
        self.child = child
        self._report = report
        self._once = once
        self._environment = dict(child.environment)
        self._task: asyncio.Task[None] | None = None

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Starts the process; `environment` adds variables for this run only."""
        self.detach()
        self.child.environment = {**self._environment, **(environment or {})}
        self.child.start()
        self.attach()

    def attach(self) -> None:
        """Begins to supervise the process, which runs already."""
        self._task = asyncio.create_task(self._run(), name=f"supervise {self.child.name}")

    def kill(self, *, restart: bool = True) -> int:
        """Sends SIGKILL and returns the process id. Without `restart`, it stays down until `start`."""
        pid = self.child.pid
        assert pid is not None, f"{self.child.name} is not running"
        if not restart:
            self.detach()
        self.child.kill()
        return pid

    def detach(self) -> None:
        """Stops supervising; the process runs on."""
        if self._task:
            self._task.cancel()
            self._task = None

    async def stop(self, seconds: float = 10.0) -> None:
        """Stops the process for good."""
        self.detach()
        await asyncio.to_thread(self.child.stop, seconds)

    async def _run(self) -> None:
        failures = 0  # in a row
        while True:
            began = time.monotonic()
            while self.child.pid is not None:  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(_POLL_SECONDS)
            if self._once and self.child.exit_code == 0:
                self._report(f"{self.child.name} has finished")
                return
            failures = 0 if time.monotonic() - began > _SETTLED_SECONDS else failures
            pause = min(_MIN_PAUSE_SECONDS * 2 ** min(failures, 10), _MAX_PAUSE_SECONDS)
            failures += 1
            self._report(f"{exit_reason(self.child)}; restart in {pause:.1f} s")
            await asyncio.sleep(pause)
            self.child.environment = self._environment
            self.child.start()
            self._report(f"{self.child.name} was restarted")


def exit_reason(child: ChildProcess) -> str:
    """Returns how a process ended: the signal, or the cause that its log names."""
    code = child.exit_code or 0
    if code < 0:
        return f"{child.name} was ended by {signal.Signals(-code).name}"
    return str(child.error(f"stopped with {code}"))
