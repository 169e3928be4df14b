"""What stops the stack, told in one line."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from livebalance.runtime.errors import DISK_FULL, os_error_text

_FULL = 1_000_000  # bytes free, or fewer
# A line of a server's log that names a cause, and what to do about it.
_ADVICE = (
    (r"No space left on device|Check free disk space|ENOSPC|Disk quota exceeded", DISK_FULL),
    (
        r"[Aa]ddress already in use|Address in use|could not bind|Failed to bind",
        "a port it was given is taken: stop what uses it, then start again",
    ),
    (
        r"Failed to acquire lock|lock file .* already exists|already running",
        "its data is in use by another process: stop that one (make down), then start again",
    ),
    (
        r"database files are incompatible|Unsupported metadata|Can't handle RDB format",
        "its data is of another version: `make reset` forgets it",
    ),
    (
        r"npm error (network|code (E(NOTFOUND|AI_AGAIN|TIMEDOUT|CONN\w+)|ERR_SOCKET_TIMEOUT))",
        "its download was cut: check the network, then start again; what has arrived is kept",
    ),
    (
        r"OutOfMemoryError|Cannot allocate memory",
        "there is not enough memory: close something, then start again",
    ),
)
_CAUSE = re.compile(r"FATAL|ERROR|PANIC|Error|Exception|error:|failed", re.ASCII)


class StackError(Exception):
    """Something outside the program must be put right; the text is one line and says what to do."""


def from_log(name: str, what: str, tail: Sequence[str], log: Path) -> StackError:
    """The trouble of a server that stopped or never became ready, from the last lines it wrote."""
    if shutil.disk_usage(log.parent).free < _FULL:  # then the log could not say so
        return StackError(f"{name} {what}: {DISK_FULL} ({log})")
    for pattern, advice in _ADVICE:
        if any(re.search(pattern, line) for line in tail):
            return StackError(f"{name} {what}: {advice} ({log})")
    causes = [line for line in tail if _CAUSE.search(line)] or list(tail[-1:])
    return StackError(f"{name} {what}: {causes[-1].strip() if causes else 'it wrote nothing'} ({log})")


def from_os(error: OSError) -> StackError:
    """The trouble behind a file or network call of ours that failed."""
    return StackError(os_error_text(error))
