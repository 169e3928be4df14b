"""Kafka, Postgres and Redis: external servers from the environment, or servers that are started here.

For each server, the first that applies: an address in the environment; a container, if
LIVEBALANCE_STACK=docker; an embedded server.
"""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit, urlunsplit

from livebalance.runtime.config.environment import read_settings
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.build.jars import ProgressCallback, no_progress
from livebalance.stack.errors import StackError, from_os
from livebalance.stack.paths import StatePaths, check_platform
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.kafka import KafkaServer
from livebalance.stack.servers.postgres import DATABASE, OWNER, PostgresServer
from livebalance.stack.servers.redis import RedisServer

_MODE_VARIABLE = "LIVEBALANCE_STACK"
NAMES = ("kafka", "postgres", "redis")


class Server(Protocol):
    """A server that is started here. After `start`, `port` is its loopback port."""

    port: int

    def prepare(self, progress: ProgressCallback = no_progress) -> None:
        """Prepares the first start: downloads, creates data directories. May run in any thread."""

    def start(self) -> None:
        """Starts the server. Call it from a thread that lives as long as the server: see `ChildProcess`."""

    def ready(self) -> None:
        """Waits until the server accepts connections. May run in any thread."""

    def stop(self) -> None:
        """Stops the server."""


class EmbeddedServer(Server, Protocol):
    """A server that is a child process."""

    child: ChildProcess


def uses_containers() -> bool:
    """Tells whether LIVEBALANCE_STACK selects containers.

    Raises:
        StackError: the variable has an unknown value.
    """
    mode = os.environ.get(_MODE_VARIABLE) or "embedded"
    if mode not in ("docker", "embedded"):
        raise StackError(f"{_MODE_VARIABLE}={mode} is unknown: set it to docker or embedded, or unset it")
    return mode == "docker"


class Servers:
    """The servers of a state directory; a context manager that stops all servers that it has started.

    `parts` names the servers that are needed. `managed` holds the servers that are started here, by name, and
    `embedded` those of them that are child processes. `only_embedded` ignores the environment: tests use it
    for servers that they kill.
    """

    def __init__(
        self,
        paths: StatePaths,
        *,
        parts: Collection[str] = NAMES,
        durable: bool = True,
        only_embedded: bool = False,
    ) -> None:
        self._paths = paths
        configured = {name: os.environ.get(f"LIVEBALANCE_{name.upper()}") for name in NAMES}
        self._external = dict.fromkeys(NAMES) if only_embedded else configured
        names = [name for name in parts if not self._external[name]]
        self.embedded: dict[str, EmbeddedServer] = {}
        self.managed: dict[str, Server] = {}
        self._lock = ExitStack()
        if not names:
            return
        create = self._create_containers if uses_containers() and not only_embedded else self._create_embedded
        try:
            create(names, durable)
        except OSError as error:
            raise from_os(error) from error

    def _create_containers(self, names: list[str], durable: bool) -> None:
        from livebalance.stack.servers.container import ContainerServer, check_engine  # noqa: PLC0415 - an optional dependency

        check_engine()
        self.managed.update((name, ContainerServer(name, self._paths, durable=durable)) for name in names)

    def _create_embedded(self, names: list[str], durable: bool) -> None:
        check_platform()
        if "kafka" in names:
            self.embedded["kafka"] = KafkaServer(self._paths)
        if "postgres" in names:
            self.embedded["postgres"] = PostgresServer(self._paths, durable=durable)
        if "redis" in names:
            self.embedded["redis"] = RedisServer(self._paths)
        self.managed.update(self.embedded)

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        managed = self.managed.get("kafka")
        return f"127.0.0.1:{managed.port}" if managed else self._external["kafka"] or ""

    @property
    def broker(self) -> Broker:
        """The connection options of the broker; for an external broker, from the settings of the services."""
        return Broker(self.kafka) if "kafka" in self.managed else read_settings(ServiceSettings).broker

    def postgres(self, role: str = OWNER, database: str = DATABASE) -> str:
        """Returns the URL of a database for a role; an external server keeps the user of its own URL."""
        if managed := self.managed.get("postgres"):
            return f"postgresql://{role}@127.0.0.1:{managed.port}/{database}"
        parts = urlsplit(self._external["postgres"] or "")
        return urlunsplit(parts._replace(path=f"/{database}"))

    def redis(self, database: int = 0) -> str:
        """Returns the URL of a Redis database."""
        if managed := self.managed.get("redis"):
            return f"redis://127.0.0.1:{managed.port}/{database}"
        return urlunsplit(urlsplit(self._external["redis"] or "")._replace(path=f"/{database}"))

    def start(self) -> None:
        """Starts all managed servers in parallel, and waits until they accept connections.

        Raises:
            StackError: a server did not start; none is left running.
        """
        self._lock.enter_context(self._paths.locked("servers.lock"))
        try:
            self._in_parallel(lambda server: server.prepare())
            for (
                server
            ) in self.managed.values():  # in this thread: a server ends with the thread that started it
                server.start()
            self._in_parallel(lambda server: server.ready())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops all managed servers in parallel."""
        self._in_parallel(lambda server: server.stop())
        self._lock.close()

    def _in_parallel(self, step: Callable[[Server], None]) -> None:
        if not self.managed:
            return
        with ThreadPoolExecutor(len(self.managed)) as pool:
            futures = [pool.submit(step, server) for server in self.managed.values()]
        for future in futures:
            try:
                future.result()
            except OSError as error:
                raise from_os(error) from error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
