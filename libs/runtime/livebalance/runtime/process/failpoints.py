"""Named points at which tests kill a process with SIGKILL: `failpoints.at("after_commit")`.

LIVEBALANCE_FAILPOINT=after_commit:3 kills the process at its third pass of `after_commit`. With
LIVEBALANCE_FAILPOINT=@<path> the point is read from a file at each pass, so that a test can choose it later.
Without the variable, `at` is an empty function.
"""

import os
import signal
from pathlib import Path

VARIABLE = "LIVEBALANCE_FAILPOINT"

_setting = os.environ.get(VARIABLE, "")
_passes = 0


def _pass(point: str) -> None:
    global _passes  # noqa: PLW0603 - the count belongs to the process
    name, _, count = _target().partition(":")
    if point == name:
        _passes += 1
        if _passes >= int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)


def _target() -> str:
    if not _setting.startswith("@"):
        return _setting
    try:
        return Path(_setting[1:]).read_text()
    except FileNotFoundError:
        return ""


def _do_nothing(point: str) -> None:
    pass


at = _pass if _setting else _do_nothing
