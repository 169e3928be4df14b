"""A supervisor restarts its process."""

import asyncio
import signal
import sys
from pathlib import Path

import psutil

from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.process.supervisor import Supervisor

_PRINT_AND_WAIT = "import os, time; print('mark', os.environ.get('MARK'), flush=True); time.sleep(60)"


def _child(tmp_path: Path, code: str = _PRINT_AND_WAIT) -> ChildProcess:
    return ChildProcess("python", [sys.executable, "-c", code], tmp_path / "log", bare_environment())


async def _wait_for_restart(supervisor: Supervisor, pid: int) -> None:
    async with asyncio.timeout(30):
        while supervisor.child.pid in (None, pid):  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.02)


async def test_killed_process_is_restarted_and_reported(tmp_path: Path) -> None:
    reports: list[str] = []
    supervisor = Supervisor(_child(tmp_path), reports.append)
    supervisor.start({"MARK": "once"})
    await asyncio.to_thread(supervisor.child.wait_for, "mark once", 30)
    pid = supervisor.kill()
    await _wait_for_restart(supervisor, pid)
    await asyncio.to_thread(
        supervisor.child.wait_for, "mark None", 30
    )  # the variables of a run do not apply to the next
    await supervisor.stop()
    assert supervisor.child.pid is None
    assert [line.split(";")[0] for line in reports] == ["python was ended by SIGKILL", "python was restarted"]


async def test_process_killed_without_restart_stays_down(tmp_path: Path) -> None:
    supervisor = Supervisor(_child(tmp_path), lambda text: None)
    supervisor.start()
    first = supervisor.kill(restart=False)
    await asyncio.sleep(0.5)  # longer than the pause before a start
    assert not psutil.pid_exists(first)
    assert supervisor.child.exit_code == -signal.SIGKILL
    supervisor.start()
    await asyncio.to_thread(supervisor.child.wait_for, "mark", 30)
    await supervisor.stop()


async def test_process_that_may_end_is_not_restarted(tmp_path: Path) -> None:
    done = asyncio.Event()
    supervisor = Supervisor(_child(tmp_path, "print('done')"), lambda text: done.set(), once=True)
    supervisor.start()
    async with asyncio.timeout(30):
        await done.wait()
    await supervisor.stop()
    assert supervisor.child.exit_code == 0


async def test_pause_doubles_while_the_process_keeps_ending(tmp_path: Path) -> None:
    reports: list[str] = []
    third = asyncio.Event()

    def report(text: str) -> None:
        reports.append(text)
        if len(reports) == 5:  # three ends, two restarts
            third.set()

    supervisor = Supervisor(_child(tmp_path, "import sys; sys.exit('no luck')"), report)
    supervisor.start()
    async with asyncio.timeout(30):
        await third.wait()
    await supervisor.stop()
    assert reports[0].startswith("python stopped with 1: no luck (")
    pauses = [
        float(line.rsplit("restart in ")[1].removesuffix(" s")) for line in reports if "restart in" in line
    ]
    assert pauses == [0.2, 0.4, 0.8]
