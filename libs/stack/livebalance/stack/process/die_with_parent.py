"""Run a command that dies with the process that started it: `leash.py SIGNAL PARENT_PID COMMAND…`.

Run as a script, before the command and in its process, so it imports nothing of ours. Linux forgets the
signal when the command changes its user, so whatever changes it stands before the leash.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def _on_parent_death(signal: int) -> None:
    """Send `signal` to this process when the thread that started it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def hold(signal: int, parent: int) -> None:
    """Die with `parent`, which started this process; at once if it is gone already."""
    _on_parent_death(signal)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    hold(int(sys.argv[1]), int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - the command it was given
