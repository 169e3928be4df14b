"""A process of the stack, in a session of its own, that never outlives its parent."""

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

    `prefix` is a command that changes the user; it runs before `die_with_parent`. Call `start` from a thread
    that lives as long as the process should: Linux ends the process with that thread.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals | None = None  # sent when its parent ends; None: `stop_signal`
    _process: subprocess.Popen[bytes] | None = None
    _log_start: int = 0  # size of the log, in bytes, before this start

    def start(self) -> None:
        """Starts the process and appends its output to the log.

        Raises:
            StackError: the command cannot be run, or the log cannot be written.
        """
        script = [
            sys.executable,
            "-IS",
            die_with_parent.__file__,
            str(int(self.orphan_signal or self.stop_signal)),
            str(os.getpid()),
        ]
        try:
            with self.log.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(  # noqa: S603 - commands of the stack
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
        """The process id, or None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last process, or the negative number of the signal that ended it."""
        return self._process.poll() if self._process else None

    def tail(self, lines: int = _TAIL) -> list[str]:
        """Returns the last lines that were logged since this start."""
        return self._output().splitlines()[-lines:]

    def wait_for(self, marker: str, seconds: float) -> None:
        """Waits until `marker` is in the log.

        Raises:
            StackError: the process ended, or did not log it in time.
        """
        deadline = time.monotonic() + seconds
        while marker not in self._output():
            if self.pid is None:
                raise self.error(f"stopped with {self.exit_code}")
            if time.monotonic() > deadline:
                raise self.error(f"is not ready after {seconds:.0f} s")
            time.sleep(_POLL)

    def error(self, event: str) -> StackError:
        """Returns the error for an event such as "stopped with 1", with the cause that the log names."""
        return from_log(self.name, event, self.tail(), self.log)

    def wait(self, seconds: float) -> None:
        """Waits until the command has ended successfully.

        Raises:
            StackError: it failed or took too long.
        """
        assert self._process
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self.error(f"is not done after {seconds:.0f} s") from None
        if code != 0:
            raise self.error(f"failed with {code}")

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if it runs."""
        if (pid := self.pid) is not None:  # read once: the process may end between two reads
            os.kill(pid, number)

    def stop(self, seconds: float = 10.0) -> None:
        """Sends the stop signal, and kills the process if it still runs after `seconds`."""
        if self._process is None:
            return
        self.send(self.stop_signal)
        self.send(signal.SIGCONT)  # a stopped process handles no other signal
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kills the process and all that it has started."""
        if self._process is None or self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")


def bare_environment() -> dict[str, str]:
    """Returns an environment without any variable that could change how a server behaves."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC"}
