"""Run a command that dies with the process that started it: `leash.py SIGNAL PARENT_PID COMMAND…`.

Run as a script, before the command and in its process, so it imports nothing of ours. Linux forgets the
signal when the command changes its user, so whatever changes it stands before the leash.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def on_parent_death(signal: int) -> None:
    """Send `signal` to this process when the thread that started it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    on_parent_death(int(sys.argv[1]))
    if os.getppid() != int(sys.argv[2]):  # it died before we asked
        sys.exit(1)
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - the command it was given
