"""Errors that keep a process from starting, and texts for errors of the operating system."""

import errno
from collections.abc import Iterable

DISK_FULL = "the disk is full: free some space, then start again"


class StartupError(Exception):
    """The process cannot start with these settings. The message is a line that says what to do."""


class SettingsError(StartupError):
    """Every mistake in the settings, a line each. No line contains a value."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))


def os_error_text(error: OSError) -> str:
    """Returns a line for a file or network call that failed: the reason and the file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{DISK_FULL} ({error.filename or 'no file name'})"
    return f"{error.strerror or error}: {error.filename or 'no file name'}"
