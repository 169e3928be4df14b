"""Why a process does not start."""


class RefusedError(Exception):
    """This process cannot start as it is set up; the message is one line that says what to do."""
