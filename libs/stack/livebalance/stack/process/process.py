"""One process of the stack: started in a session of its own, watched, stopped, never left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from livebalance.stack.errors import StackError, from_log, from_os
from livebalance.stack.process import die_with_parent

_POLL = 0.02  # seconds
_TAIL = 64  # lines


@dataclass
class ChildProcess:
    """A command, and the process that runs it now, if any.

    `prefix` stands before the leash: what changes the user. Start it from a thread that lives as long as
    the process shall: Linux ends the process with that thread.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = None
    _written: int = 0  # size of the log before this start

    def start(self) -> None:
        """Start the process; its output goes to the end of the log."""
        script = [
            sys.executable,
            "-IS",
            die_with_parent.__file__,
            str(int(self.stop_signal)),
            str(os.getpid()),
        ]
        try:
            with self.log.open("ab") as log:
                self._written = log.tell()
                self._process = subprocess.Popen(  # noqa: S603 - commands of our own
                    [*self.prefix, *script, *self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.directory,
                    env=dict(self.environment),
                    start_new_session=True,
                )
        except OSError as error:
            raise from_os(error) from error

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How the last process ended; negative: the signal that ended it."""
        return self._process.poll() if self._process else None

    def tail(self, lines: int = _TAIL) -> list[str]:
        """The last lines this start has written."""
        return self._output().splitlines()[-lines:]

    def wait_for(self, marker: str, seconds: float) -> None:
        """Wait until the log says `marker`.

        Raises:
            Trouble: it ended, or did not say so in time.
        """
        deadline = time.monotonic() + seconds
        while marker not in self._output():
            if self.pid is None:
                raise self.trouble(f"stopped with {self.exit_code}")
            if time.monotonic() > deadline:
                raise self.trouble(f"is not ready after {seconds:.0f} s")
            time.sleep(_POLL)

    def trouble(self, what: str) -> StackError:
        """What happened to it, with the cause its log gives."""
        return from_log(self.name, what, self.tail(), self.log)

    def finish(self, seconds: float) -> None:
        """Wait until the command has done its work.

        Raises:
            Trouble: it failed or took too long.
        """
        assert self._process
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self.trouble(f"is not done after {seconds:.0f} s") from None
        if code != 0:
            raise self.trouble(f"failed with {code}")

    def send(self, number: signal.Signals) -> None:
        """Signal the process, if it runs."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to stop, and kill it after `seconds`."""
        if self._process is None:
            return
        self.send(self.stop_signal)
        self.send(signal.SIGCONT)  # a stopped process hears nothing else
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it and what it has started, at once."""
        if self._process is None or self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._written)
            return log.read().decode("utf-8", "replace")


def bare_environment() -> dict[str, str]:
    """What a server gets of our environment: nothing that could change how it behaves."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC"}
