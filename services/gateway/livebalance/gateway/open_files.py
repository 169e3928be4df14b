"""The limit of open files of this process, of which each client takes one."""

import contextlib
import resource

RESERVED = 1_000  # files beside those of clients: requests, Redis, Postgres, the operations port
SPARE = 512  # of these, for no request: half for rejected connections, the others for Redis and so on


def raise_limit() -> int:
    """Raises the limit as far as this process may, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system may allow less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def max_without_client(files: int, max_clients: int, clients: int) -> int:
    """Returns how many HTTP connections may be open beside those of so many clients.

    Each may have a file of the page open. So many as `max_clients` are enough, also if there are more files.
    """
    return min(max(max_clients, RESERVED), (files - _spare(files) - clients) // 2)


def max_rejected(files: int) -> int:
    """Returns how many rejected connections may be open for a moment."""
    return _spare(files) // 2


def _spare(files: int) -> int:
    return min(SPARE, files // 4)


def max_clients(files: int) -> int:
    """Returns how many clients fit into so many open files."""
    return files - min(RESERVED, files // 2)
