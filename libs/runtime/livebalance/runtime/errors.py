"""Why a process does not start, and what an error of the operating system means to a user."""

import errno
from collections.abc import Iterable

DISK_FULL = "the disk is full: free some space, then start again"


class StartupError(Exception):
    """This process cannot start as it is set up; the message is one line that says what to do."""


class SettingsError(StartupError):
    """All that is wrong with the settings, a line each; none of them has a value in it."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))


def os_error_text(error: OSError) -> str:
    """Returns one line for a file or network call that failed: the reason and the file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{DISK_FULL} ({error.filename or 'no file name'})"
    return f"{error.strerror or error}: {error.filename or 'no file name'}"
