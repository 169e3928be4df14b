"""A process that ends is started again."""

import asyncio
import signal
import sys
from pathlib import Path

import psutil

from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.process.supervisor import Supervisor

_SAY_AND_WAIT = "import os, time; print('mark', os.environ.get('MARK'), flush=True); time.sleep(60)"


def _child(tmp_path: Path, code: str = _SAY_AND_WAIT) -> ChildProcess:
    return ChildProcess("python", [sys.executable, "-c", code], tmp_path / "log", bare_environment())


async def _until_started_again(watch: Supervisor, pid: int) -> None:
    async with asyncio.timeout(10):
        while watch.child.pid in (None, pid):  # noqa: ASYNC110 - a process tells nobody
            await asyncio.sleep(0.02)


async def test_a_killed_process_comes_back_and_its_end_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    watch = Supervisor(_child(tmp_path), said.append)
    watch.start({"MARK": "once"})
    await asyncio.to_thread(watch.child.wait_for, "mark once", 10)
    pid = watch.kill()
    await _until_started_again(watch, pid)
    await asyncio.to_thread(watch.child.wait_for, "mark None", 10)  # what one run was given, the next has not
    await watch.stop()
    assert watch.child.pid is None
    assert [line.split(";")[0] for line in said] == ["python was ended by SIGKILL"]


async def test_it_stays_down_when_told_so(tmp_path: Path) -> None:
    watch = Supervisor(_child(tmp_path), lambda text: None)
    watch.start()
    first = watch.kill(restart=False)
    await asyncio.sleep(0.5)  # longer than the pause before a start
    assert not psutil.pid_exists(first)
    assert watch.child.exit_code == -signal.SIGKILL
    watch.start()
    await asyncio.to_thread(watch.child.wait_for, "mark", 10)
    await watch.stop()


async def test_what_may_end_ends(tmp_path: Path) -> None:
    done = asyncio.Event()
    watch = Supervisor(_child(tmp_path, "print('done')"), lambda text: done.set(), once=True)
    watch.start()
    async with asyncio.timeout(10):
        await done.wait()
    await watch.stop()
    assert watch.child.exit_code == 0


async def test_the_pause_grows_while_it_keeps_ending(tmp_path: Path) -> None:
    said: list[str] = []
    third = asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            third.set()

    watch = Supervisor(_child(tmp_path, "import sys; sys.exit('no luck')"), say)
    watch.start()
    async with asyncio.timeout(10):
        await third.wait()
    await watch.stop()
    assert said[0].startswith("python stopped with 1: no luck (")
    pauses = [float(line.rsplit("again in ")[1].removesuffix(" s")) for line in said]
    assert pauses == [0.2, 0.4, 0.8]
