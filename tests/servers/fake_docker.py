"""A fake Docker engine, in place of the client of a real engine. It records calls and options.

With a home directory it runs, for an image, the embedded server that the image stands for, on the port to be
published. A volume is a directory.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest
from docker.errors import NotFound
from docker.models.containers import ExecResult
from testcontainers.core.config import ConnectionMode, testcontainers_config

from livebalance.stack import paths
from livebalance.stack.paths import StatePaths
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers import kafka, postgres, redis


class EmbeddedServer(Protocol):
    """A server of the stack."""

    child: ChildProcess

    def prepare(self) -> None: ...
    def start(self) -> None: ...
    def ready(self) -> None: ...
    def stop(self) -> None: ...


_SERVERS: Mapping[str, Any] = {
    "apache/kafka": kafka.KafkaServer,
    "postgres": postgres.PostgresServer,
    "redis": redis.RedisServer,
}


class FakeContainer:
    """A container with the interface of docker-py."""

    def __init__(self, engine: "FakeEngine", image: str, options: Mapping[str, Any]) -> None:
        self._engine, self.image, self.options = engine, image, options
        self.id = self.short_id = f"container-{len(engine.containers)}"
        self.status = "created"
        self.attrs: dict[str, Any] = {"State": {"Health": None}}
        self.server: EmbeddedServer | None = None
        engine.containers.append(self)

    @property
    def port(self) -> int:
        [(_, port)] = self.options["ports"].values()
        return int(port)

    def start(self) -> None:
        self._engine.record(self, "start")
        if self._engine.start_error:
            raise self._engine.start_error
        self.status = "running"
        self._engine.run_server(self)

    def logs(self, **_: object) -> bytes:
        return "\n".join(self.server.child.tail() if self.server else [kafka.READY]).encode()

    def exec_run(self, **_: object) -> ExecResult:
        if self.server:
            self.server.ready()
        return ExecResult(0, b"")

    def stop(self, timeout: int) -> None:
        self._engine.record(self, f"stop {timeout}")
        self.status = "exited"
        if self.server:
            self.server.stop()

    def remove(self, force: bool, v: bool) -> None:
        self._engine.record(self, "remove")
        if self.server:
            self.server.stop()

    def reload(self) -> None:
        pass


class _Volumes:
    def __init__(self, engine: "FakeEngine") -> None:
        self._engine = engine

    def get(self, name: str) -> "_Volumes":
        if name not in self._engine.volumes:
            raise NotFound(name)
        self._name = name
        return self

    def remove(self) -> None:
        self._engine.volumes.remove(self._name)


class _Client:
    """The used part of docker-py's client."""

    def __init__(self, engine: "FakeEngine") -> None:
        self.volumes = _Volumes(engine)

    def ping(self) -> bool:
        return True

    def close(self) -> None:
        pass


class FakeEngine:
    """Replaces the `DockerClient` of testcontainers, for all containers of a test."""

    def __init__(self, home: Path | None = None, directory: Path | None = None) -> None:
        self._home, self._directory = home, directory
        self._starter = ThreadPoolExecutor(
            1
        )  # servers end with the thread that starts them: it has to live on
        self._next_ports: list[int] = []
        self.client = _Client(self)
        self.containers: list[FakeContainer] = []
        self.volumes: set[str] = set()
        self.calls: list[str] = []
        self.start_error: Exception | None = None

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Makes this engine the one that testcontainers uses."""
        for module in ("testcontainers.core.container", "livebalance.stack.servers.container"):
            patch.setattr(f"{module}.DockerClient", lambda **_: self)
        for server in ("kafka", "postgres", "redis"):
            patch.setattr(f"livebalance.stack.servers.{server}.free_port", self._free_port)
        patch.setattr(testcontainers_config, "ryuk_disabled", True)
        patch.setenv("LIVEBALANCE_STACK", "docker")

    def create(
        self, image: str, *, volumes: Mapping[str, Mapping[str, str]], **options: Any
    ) -> FakeContainer:
        self.volumes.update(volumes)
        return FakeContainer(self, image, {**options, "volumes": volumes})

    def start(self, container: FakeContainer) -> None:
        container.start()

    def port(self, identity: str, inside: int) -> int:
        [container] = [container for container in self.containers if container.id == identity]
        assert str(inside) in container.options["ports"]
        return container.port

    def host(self) -> str:
        return "localhost"

    def get_connection_mode(self) -> ConnectionMode:
        return ConnectionMode.docker_host

    def record(self, container: FakeContainer, call: str) -> None:
        self.calls.append(f"{container.image.partition(':')[0]} {call}")

    def run_server(self, container: FakeContainer) -> None:
        """Runs the embedded server of the image."""
        if self._home and self._directory:
            volumes: Sequence[str] = list(container.options["volumes"]) or [container.id]
            paths = StatePaths(self._home, self._directory / volumes[0])
            container.server = _SERVERS[container.image.partition(":")[0]](paths)
            self._starter.submit(self._start_server, container.server, container.port).result()

    def _start_server(self, server: EmbeddedServer, port: int) -> None:
        server.prepare()
        self._next_ports = [port]
        server.start()

    def _free_port(self) -> int:
        return self._next_ports.pop() if self._next_ports else paths.free_port()
