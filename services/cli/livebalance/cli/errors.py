"""The error of a command, printed on a single line."""

from livebalance.runtime.errors import os_error_text


class UserError(Exception):
    """A command failed; the message is a single line that says what to do."""


def from_os(error: OSError) -> UserError:
    """Returns the error for a file or network call that failed."""
    return UserError(os_error_text(error))
