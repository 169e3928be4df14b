"""Named points at which a proof has a process die as by `kill -9`: `crash.at("after_commit")`.

LIVEBALANCE_CRASH_AT=after_commit:3 kills the process on its third pass of `after_commit`. Without the
variable a point is one call of an empty function.
"""

import os
import signal

VARIABLE = "LIVEBALANCE_CRASH_AT"

_point, _, _passes = os.environ.get(VARIABLE, "").partition(":")
_left = int(_passes or 1)


def _pass(point: str) -> None:
    global _left  # noqa: PLW0603 - a process dies once: the count of passes left is its own
    if point == _point:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _nothing(point: str) -> None:
    pass


at = _pass if _point else _nothing
