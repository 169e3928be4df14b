"""Why a process does not start."""

from collections.abc import Iterable


class RefusedError(Exception):
    """This process cannot start as it is set up; the message is one line that says what to do."""


class WrongSettingsError(RefusedError):
    """All that is wrong with the settings, a line each; none of them has a value in it."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))
