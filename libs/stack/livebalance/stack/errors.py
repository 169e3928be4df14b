"""Errors of the stack, each a single line that says what to do."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from livebalance.runtime.errors import DISK_FULL, os_error_text

_MIN_FREE_BYTES = 1_000_000  # with less, a server may not even be able to log that the disk is full
# A pattern for a line of a server's log, and the advice for the cause that the line names.
_ADVICE = (
    (r"No space left on device|Check free disk space|ENOSPC|Disk quota exceeded", DISK_FULL),
    (
        r"[Aa]ddress already in use|Address in use|could not bind|Failed to bind",
        "its port is taken: stop the process that uses it, then start again",
    ),
    (
        r"Failed to acquire lock|lock file .* already exists|already running",
        "another process uses its data: stop that process (make down), then start again",
    ),
    (
        r"database files are incompatible|Unsupported metadata|Can't handle RDB format",
        "its data is from another version: delete the data with `make reset`",
    ),
    (
        r"npm error (network|code (E(NOTFOUND|AI_AGAIN|TIMEDOUT|CONN\w+)|ERR_SOCKET_TIMEOUT))",
        "a download was cut off: check the network, then start again; finished downloads are kept",
    ),
    (
        r"OutOfMemoryError|Cannot allocate memory",
        "there is not enough memory: stop other programs, then start again",
    ),
)
_CAUSE = re.compile(r"FATAL|ERROR|PANIC|Error|Exception|error:|failed", re.ASCII)


class StackError(Exception):
    """The stack cannot go on; the message is a single line that says what to do."""


def from_log(name: str, event: str, tail: Sequence[str], log: Path) -> StackError:
    """Returns the error of a process that stopped or did not become ready, with the cause from its log."""
    if shutil.disk_usage(log.parent).free < _MIN_FREE_BYTES:
        return StackError(f"{name} {event}: {DISK_FULL} ({log})")
    for pattern, advice in _ADVICE:
        if any(re.search(pattern, line) for line in tail):
            return StackError(f"{name} {event}: {advice} ({log})")
    causes = [line for line in tail if _CAUSE.search(line)] or list(tail[-1:])
    return StackError(f"{name} {event}: {causes[-1].strip() if causes else 'its log is empty'} ({log})")


def from_os(error: OSError) -> StackError:
    """Returns the error for a file or network call that failed."""
    return StackError(os_error_text(error))
