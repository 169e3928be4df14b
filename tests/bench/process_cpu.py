"""Who runs where, who runs last, and what CPU time was spent."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import psutil


def pin(pid: int, cores: set[int]) -> None:
    """All threads of a process and of what it has started; new ones have it from these."""
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cores)


def make_last(pid: int) -> None:
    psutil.Process(pid).nice(19)
    with contextlib.suppress(OSError):  # of a kernel without groups of sessions
        Path(f"/proc/{pid}/autogroup").write_text("19")


def cpu(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
