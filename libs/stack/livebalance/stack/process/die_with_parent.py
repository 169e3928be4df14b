"""Runs a command that dies with the process that started it: `die_with_parent.py SIGNAL PARENT_PID COMMAND…`.

It runs as a script, in the process that becomes the command, so it imports only the standard library. Linux
drops the parent-death signal when a process changes its user: a command that does (setpriv) runs before it.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def _on_parent_death(signal: int) -> None:
    """Makes Linux send `signal` to this process when the thread that started it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def install(signal: int, parent: int) -> None:
    """Makes this process die with `parent`, which started it. Exits at once if the parent is gone."""
    _on_parent_death(signal)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    install(int(sys.argv[1]), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - the command is the argument
