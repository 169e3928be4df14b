"""Named points at which a proof has a process die as by `kill -9`: `crash.at("after_commit")`.

LIVEBALANCE_FAILPOINT=after_commit:3 kills the process on its third pass of `after_commit`; with =@file it does
what the file says, from when it says it. Without the variable a point is one call of an empty function.
"""

import os
import signal
from pathlib import Path

VARIABLE = "LIVEBALANCE_FAILPOINT"

_order = os.environ.get(VARIABLE, "")
_passed = 0


def _pass(point: str) -> None:
    global _passed  # noqa: PLW0603 - a process dies once: the count of its passes is its own
    wanted, _, passes = _told().partition(":")
    if point == wanted:
        _passed += 1
        if _passed >= int(passes or 1):
            os.kill(os.getpid(), signal.SIGKILL)


def _told() -> str:
    if not _order.startswith("@"):
        return _order
    try:
        return Path(_order[1:]).read_text()
    except FileNotFoundError:
        return ""


def _nothing(point: str) -> None:
    pass


at = _pass if _order else _nothing
