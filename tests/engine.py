"""A Docker engine for tests, in the place of the client of a real one. It notes what it is told to run.

With a home, what it runs is the embedded server that an image stands for, on the port to be published;
a volume is a directory.
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


class Served(Protocol):
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


class Container:
    """What was created, as the engine's client shows it."""

    def __init__(self, engine: "Engine", image: str, told: Mapping[str, Any]) -> None:
        self._engine, self.image, self.told = engine, image, told
        self.id = self.short_id = f"container-{len(engine.containers)}"
        self.status = "created"
        self.attrs: dict[str, Any] = {"State": {"Health": None}}
        self.served: Served | None = None
        engine.containers.append(self)

    @property
    def port(self) -> int:
        [(_, port)] = self.told["ports"].values()
        return int(port)

    def start(self) -> None:
        self._engine.say(self, "start")
        if self._engine.trouble:
            raise self._engine.trouble
        self.status = "running"
        self._engine.serve(self)

    def logs(self, **_: object) -> bytes:
        return "\n".join(self.served.child.tail() if self.served else [kafka.READY]).encode()

    def exec_run(self, **_: object) -> ExecResult:
        if self.served:
            self.served.ready()
        return ExecResult(0, b"")

    def stop(self, timeout: int) -> None:
        self._engine.say(self, f"stop {timeout}")
        self.status = "exited"
        if self.served:
            self.served.stop()

    def remove(self, force: bool, v: bool) -> None:
        self._engine.say(self, "remove")
        if self.served:
            self.served.stop()

    def reload(self) -> None:
        pass


class _Volumes:
    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def get(self, name: str) -> "_Volumes":
        if name not in self._engine.volumes:
            raise NotFound(name)
        self._name = name
        return self

    def remove(self) -> None:
        self._engine.volumes.remove(self._name)


class _Client:
    """The part of docker-py's client that is used."""

    def __init__(self, engine: "Engine") -> None:
        self.volumes = _Volumes(engine)

    def ping(self) -> bool:
        return True

    def close(self) -> None:
        pass


class Engine:
    """Stands in for testcontainers' `DockerClient`; one for all containers of a test."""

    def __init__(self, home: Path | None = None, directory: Path | None = None) -> None:
        self._home, self._directory = home, directory
        self._starter = ThreadPoolExecutor(1)  # its thread lives on, and with it what it starts
        self._wanted: list[int] = []
        self.client = _Client(self)
        self.containers: list[Container] = []
        self.volumes: set[str] = set()
        self.said: list[str] = []
        self.trouble: Exception | None = None

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Be the engine that answers."""
        for module in ("testcontainers.core.container", "livebalance.stack.servers.container"):
            patch.setattr(f"{module}.DockerClient", lambda **_: self)
        for server in ("kafka", "postgres", "redis"):
            patch.setattr(f"livebalance.stack.servers.{server}.free_port", self._free_port)
        patch.setattr(testcontainers_config, "ryuk_disabled", True)
        patch.setenv("LIVEBALANCE_STACK", "docker")

    def create(self, image: str, *, volumes: Mapping[str, Mapping[str, str]], **told: Any) -> Container:
        self.volumes.update(volumes)
        return Container(self, image, {**told, "volumes": volumes})

    def start(self, container: Container) -> None:
        container.start()

    def port(self, identity: str, inside: int) -> int:
        [container] = [one for one in self.containers if one.id == identity]
        assert str(inside) in container.told["ports"]
        return container.port

    def host(self) -> str:
        return "localhost"

    def get_connection_mode(self) -> ConnectionMode:
        return ConnectionMode.docker_host

    def say(self, container: Container, what: str) -> None:
        self.said.append(f"{container.image.partition(':')[0]} {what}")

    def serve(self, container: Container) -> None:
        """Run the embedded server of this image."""
        if self._home and self._directory:
            volumes: Sequence[str] = list(container.told["volumes"]) or [container.id]
            here = StatePaths(self._home, self._directory / volumes[0])
            container.served = _SERVERS[container.image.partition(":")[0]](here)
            self._starter.submit(self._serve, container.served, container.port).result()

    def _serve(self, served: Served, port: int) -> None:
        served.prepare()
        self._wanted = [port]
        served.start()

    def _free_port(self) -> int:
        return self._wanted.pop() if self._wanted else paths.free_port()
