"""Where the stack keeps things on this machine: state directories, locks, free ports."""

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
# Below the range from which Linux takes ports for outgoing connections: none of those can be in the way.
_PORTS = range(20_000, 32_000)
_KEPT = 64  # reservations, as file descriptors: who got one before as many others has long been listening
_reservations: deque[int] = deque()
_PLATFORMS = {("Linux", "x86_64"), ("Linux", "aarch64")}


@dataclass(frozen=True)
class StatePaths:
    """A directory for the state of one set of servers, and the one for what all sets share (downloads)."""

    home: Path
    state: Path

    @classmethod
    def of_environment(cls, name: str | None = None) -> "StatePaths":
        """`LIVEBALANCE_STATE_DIRECTORY`, else `.livebalance` in the project; `name` tells sets of servers apart.

        Without one it is that of the demo, or of what was built from somebody's own topics.
        """
        name = name or ("yours" if is_yours() else "demo")
        home = Path(os.environ.get("LIVEBALANCE_STATE_DIRECTORY") or PROJECT / ".livebalance").resolve()
        return cls(home, home / name)

    def directory(self, name: str) -> Path:
        """A directory of the state, made if missing."""
        path = self.state / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.directory("logs") / f"{name}.log"

    @contextmanager
    def locked(self, name: str = "lock") -> Iterator[None]:
        """Hold the state for one owner.

        Raises:
            Trouble: another process holds it.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / name).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"{self.state} is in use: it is up already, or coming up (make status)"
                ) from None
            yield

    def in_use(self, name: str = "lock") -> bool:
        """Whether a process holds the state. Who looks makes nothing, and need not be its owner.

        Raises:
            Trouble: it may not be read.
        """
        try:
            with (self.state / name).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two who look do not see each other
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            raise from_os(error) from error
        return False


def is_yours() -> bool:
    """A Kafka of somebody's own is named: it is read, and nothing is made up there."""
    return bool(os.environ.get("LIVEBALANCE_KAFKA"))


def check_platform() -> None:
    """Servers come as ready binaries.

    Raises:
        Trouble: there are none for this machine.
    """
    here = (platform.system(), platform.machine())
    if here not in _PLATFORMS or sys.version_info < (3, 11):
        known = ", ".join(" ".join(pair) for pair in sorted(_PLATFORMS))
        raise StackError(
            f"no servers for {' '.join(here)} with Python {platform.python_version()}: "
            f"use {known} with Python 3.11 or newer, have containers (LIVEBALANCE_STACK=docker), or name "
            "running servers in LIVEBALANCE_KAFKA, LIVEBALANCE_POSTGRES and LIVEBALANCE_REDIS"
        )


def is_free(port: int) -> bool:
    """Whether a server on loopback could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def reserved(port: int) -> bool:
    """Whether the port is free, and from now on ours: no other stack on this machine reserves it.

    It is taken for good only by whoever listens there, and a server may be minutes from that.
    """
    if not is_free(port):
        return False
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0livebalance-port-{port}")  # no file: it ends with this process
    except OSError:
        claim.close()
        return False
    _reservations.append(claim.detach())
    if len(_reservations) > _KEPT:
        os.close(_reservations.popleft())
    return True


def free_port() -> int:
    """A port of loopback that nobody listens on now, and that is given to nobody else."""
    for port in random.sample(_PORTS, 200):
        if reserved(port):
            return port
    raise StackError("200 ports in a row are taken: close something, then start again")
