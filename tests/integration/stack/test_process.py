"""Child processes: their logs, their end, and the end of their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from livebalance.stack.errors import StackError
from livebalance.stack.process.process import ChildProcess, bare_environment

_IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
_PARENT = """
import sys, time
from pathlib import Path
from livebalance.stack.process.process import ChildProcess, bare_environment
child = ChildProcess("sleeper", ["sleep", "60"], Path(sys.argv[1]), bare_environment())
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


def _python(code: str, log: Path) -> ChildProcess:
    return ChildProcess("python", [sys.executable, "-c", code], log, bare_environment())


def _has_ended(pid: int, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not psutil.pid_exists(pid)


def test_child_dies_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.stdout.close()
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    assert _has_ended(pid)


def test_child_that_ignores_its_stop_signal_is_killed(tmp_path: Path) -> None:
    child = _python(_IGNORES_SIGTERM, tmp_path / "log")
    child.start()
    child.wait_for("up", 30)
    pid = child.pid
    child.stop(0.2)
    assert child.exit_code == -signal.SIGKILL
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_paused_child_can_be_stopped(tmp_path: Path) -> None:
    child = _python("import time; print('up', flush=True); time.sleep(60)", tmp_path / "log")
    child.start()
    child.wait_for("up", 30)
    child.send(signal.SIGSTOP)
    child.stop(30)
    assert child.exit_code == -signal.SIGTERM


def test_child_that_ends_before_it_is_ready_gives_the_cause_from_its_log(tmp_path: Path) -> None:
    child = _python("import sys; sys.exit('FATAL: no such luck')", tmp_path / "log")
    child.start()
    with pytest.raises(StackError, match="python stopped with 1: FATAL: no such luck"):
        child.wait_for("up", 30)


def test_child_that_never_gets_ready_gives_an_error(tmp_path: Path) -> None:
    child = _python("import time; time.sleep(60)", tmp_path / "log")
    child.start()
    try:
        with pytest.raises(StackError, match="is not ready after 0 s"):
            child.wait_for("up", 0.2)
    finally:
        child.kill()


def test_log_of_earlier_starts_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("up\n")
    child = _python("print('other')", log)
    child.start()
    with pytest.raises(StackError, match="other"):
        child.wait_for("up", 30)
    assert log.read_text().startswith("up\n")


def test_child_has_its_own_session(tmp_path: Path) -> None:
    child = ChildProcess("sleeper", ["sleep", "60"], tmp_path / "log", bare_environment())
    child.start()
    try:
        assert child.pid is not None
        assert os.getsid(child.pid) == child.pid  # Ctrl-C in the terminal does not reach it
    finally:
        child.kill()
