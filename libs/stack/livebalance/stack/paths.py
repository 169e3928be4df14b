"""Where the stack keeps files on this machine, the locks on them, and free ports."""

import fcntl
import os
import platform
import random
import socket
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from livebalance.stack.errors import StackError, from_os

PROJECT = Path(__file__).resolve().parents[4]
# Below the range that Linux uses for outgoing connections, so that none of those can hold the port.
_PORTS = range(20_000, 32_000)
_MAX_RESERVATIONS = 64  # open sockets; a server that got its port that many reservations ago listens by now
_reservations: deque[int] = deque()
_PLATFORMS = {("Linux", "x86_64"), ("Linux", "aarch64")}


@dataclass(frozen=True)
class StatePaths:
    """The directory of a set of servers (`state`), and the directory of shared downloads (`home`)."""

    home: Path
    state: Path

    @classmethod
    def from_environment(cls, name: str | None = None) -> "StatePaths":
        """Returns the paths below `LIVEBALANCE_STATE_DIRECTORY`, or below `.livebalance` in the project.

        `name` is the name of the set of servers. None: `yours` if LIVEBALANCE_KAFKA is set, else `demo`.
        """
        name = name or ("yours" if uses_own_topics() else "demo")
        home = Path(os.environ.get("LIVEBALANCE_STATE_DIRECTORY") or PROJECT / ".livebalance").resolve()
        return cls(home, home / name)

    def directory(self, name: str) -> Path:
        """Returns a directory of the state, and creates it if it is missing."""
        path = self.state / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, name: str) -> Path:
        """Returns the log file of a process."""
        return self.directory("logs") / f"{name}.log"

    @contextmanager
    def locked(self, name: str = "lock") -> Iterator[None]:
        """Locks the state while the block runs.

        Raises:
            StackError: another process holds the lock.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / name).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"{self.state} is in use: Livebalance is already running or starting (make status)"
                ) from None
            yield

    def is_locked(self, name: str = "lock") -> bool:
        """Tells whether a process holds the lock. Creates no file and needs only read permission.

        Raises:
            StackError: the lock file cannot be read.
        """
        try:
            with (self.state / name).open() as file:
                fcntl.flock(
                    file, fcntl.LOCK_SH | fcntl.LOCK_NB
                )  # shared: concurrent calls do not see each other
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            raise from_os(error) from error
        return False


def uses_own_topics() -> bool:
    """Tells whether LIVEBALANCE_KAFKA is set: the user's topics are read, and no demo data is written."""
    return bool(os.environ.get("LIVEBALANCE_KAFKA"))


def check_platform() -> None:
    """Checks that the embedded servers, which are binaries, exist for this machine.

    Raises:
        StackError: there are none for this platform.
    """
    here = (platform.system(), platform.machine())
    if here not in _PLATFORMS or sys.version_info < (3, 11):
        known = ", ".join(" ".join(pair) for pair in sorted(_PLATFORMS))
        raise StackError(
            f"no embedded servers for {' '.join(here)} with Python {platform.python_version()}: "
            f"use {known} with Python 3.11 or newer, use containers (LIVEBALANCE_STACK=docker), or set "
            "LIVEBALANCE_KAFKA, LIVEBALANCE_POSTGRES and LIVEBALANCE_REDIS to running servers"
        )


def is_free(port: int) -> bool:
    """Tells whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def reserve_port(port: int) -> bool:
    """Reserves a free port against every other stack on this machine; False if it is not free.

    A server may need minutes before it listens. Until then, the reservation keeps other stacks from the port.
    """
    if not is_free(port):
        return False
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(
            f"\0livebalance-port-{port}"
        )  # abstract: it ends with this process and leaves no file
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation.detach())
    if len(_reservations) > _MAX_RESERVATIONS:
        os.close(_reservations.popleft())
    return True


def free_port() -> int:
    """Reserves a free loopback port and returns it.

    Raises:
        StackError: 200 random ports were all taken.
    """
    for port in random.sample(_PORTS, 200):
        if reserve_port(port):
            return port
    raise StackError("200 random ports are all taken: stop some processes, then start again")
