"""The limit of open files of this process, of which each client takes one."""

import contextlib
import resource

RESERVED = 1_000  # files beside those of clients: requests, Redis, Postgres, the operations port


def raise_limit() -> int:
    """Raises the limit as far as this process may, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system may allow less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def max_clients(files: int) -> int:
    """Returns how many clients fit into so many open files."""
    return files - min(RESERVED, files // 2)
