"""Pins processes to cores, lowers their priority, and reads their CPU time."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import psutil


def pin(pid: int, cores: set[int]) -> None:
    """Pins all threads of a process and of its descendants. New threads inherit the cores."""
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cores)


def lower_priority(pid: int) -> None:
    """Gives a process, and its scheduling group, the lowest priority."""
    psutil.Process(pid).nice(19)
    with contextlib.suppress(OSError):  # a kernel without autogroups
        Path(f"/proc/{pid}/autogroup").write_text("19")


def cpu_seconds(pids: Sequence[int]) -> float:
    """Returns the CPU time that these processes have used so far."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
