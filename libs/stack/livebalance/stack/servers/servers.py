"""Kafka, Postgres and Redis, wherever they can be had: named in the environment, else started here.

The order for each part: its URL in the environment; a container, if LIVEBALANCE_STACK=docker asks for it; the
embedded one.
"""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit, urlunsplit

from livebalance.runtime.config.environment import read
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.build.jars import Progress, silent
from livebalance.stack.errors import StackError, from_os
from livebalance.stack.paths import StatePaths, check_platform
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.kafka import KafkaServer
from livebalance.stack.servers.postgres import DATABASE, OWNER, PostgresServer
from livebalance.stack.servers.redis import RedisServer

_WAY = "LIVEBALANCE_STACK"
NAMES = ("kafka", "postgres", "redis")


class Server(Protocol):
    """A server of our own. Once it is started, it is at this port of loopback."""

    port: int

    def prepare(self, progress: Progress = silent) -> None:
        """Do what is done once; may run in a thread. `progress` hears of downloads: bytes done and in all."""

    def start(self) -> None:
        """Start it, from a thread that lives as long."""

    def ready(self) -> None:
        """Wait until it serves; may run in a thread."""

    def stop(self) -> None:
        """Stop it."""


class EmbeddedServers(Server, Protocol):
    """A server that is a process of ours."""

    child: ChildProcess


def in_docker() -> bool:
    """Whether containers are asked for.

    Raises:
        Trouble: what is asked for is not known.
    """
    way = os.environ.get(_WAY) or "embedded"
    if way not in ("docker", "embedded"):
        raise StackError(f"{_WAY}={way} is not known: say docker or embedded, or leave it out")
    return way == "docker"


class Servers:
    """The three servers of one place; a context manager that leaves none of its own behind.

    `parts` says which of them are wanted; `started` holds those that are not given, by name, and `own` those
    among them that are processes of ours.
    """

    def __init__(
        self,
        place: StatePaths,
        *,
        parts: Collection[str] = NAMES,
        durable: bool = True,
        embedded: bool = False,
    ) -> None:
        self._place = place
        named = {name: os.environ.get(f"LIVEBALANCE_{name.upper()}") for name in NAMES}
        self._given = dict.fromkeys(NAMES) if embedded else named
        self._wanted = [name for name in parts if not self._given[name]]
        self.own: dict[str, EmbeddedServers] = {}
        self.started: dict[str, Server] = {}
        self._lock = ExitStack()
        if not self._wanted:
            return
        try:
            (self._contain if in_docker() and not embedded else self._embed)(durable)
        except OSError as error:
            raise from_os(error) from error

    @classmethod
    def ours(cls, place: StatePaths, *parts: str) -> Self:
        """Processes of ours, whatever is named or asked for, that keep nothing: they may be harmed."""
        return cls(place, parts=parts, durable=False, embedded=True)

    def _contain(self, durable: bool) -> None:
        from livebalance.stack.servers.container import ContainerServer, check_engine  # noqa: PLC0415 - for who asks for it

        check_engine()
        self.started.update(
            (name, ContainerServer(name, self._place, durable=durable)) for name in self._wanted
        )

    def _embed(self, durable: bool) -> None:
        check_platform()
        if "kafka" in self._wanted:
            self.own["kafka"] = KafkaServer(self._place)
        if "postgres" in self._wanted:
            self.own["postgres"] = PostgresServer(self._place, durable=durable)
        if "redis" in self._wanted:
            self.own["redis"] = RedisServer(self._place)
        self.started.update(self.own)

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        started = self.started.get("kafka")
        return f"127.0.0.1:{started.port}" if started else self._given["kafka"] or ""

    @property
    def broker(self) -> Broker:
        """How it is reached; a broker that was given, as the settings of every service say."""
        return Broker(self.kafka) if "kafka" in self.started else read(ServiceSettings).broker

    def postgres(self, role: str = OWNER, database: str = DATABASE) -> str:
        """URL of a database for a role; a server that was given is used as the user it was given with."""
        if started := self.started.get("postgres"):
            return f"postgresql://{role}@127.0.0.1:{started.port}/{database}"
        parts = urlsplit(self._given["postgres"] or "")
        return urlunsplit(parts._replace(path=f"/{database}"))

    def redis(self, database: int = 0) -> str:
        """URL of a RedisServer database."""
        if started := self.started.get("redis"):
            return f"redis://127.0.0.1:{started.port}/{database}"
        return urlunsplit(urlsplit(self._given["redis"] or "")._replace(path=f"/{database}"))

    def start(self) -> None:
        """Start all that run here, at once, and wait until they serve.

        Raises:
            Trouble: one of them did not; none is left running.
        """
        self._lock.enter_context(self._place.locked("servers.lock"))
        try:
            self._at_once(lambda server: server.prepare())
            for server in self.started.values():  # in this thread: they end with the one that starts them
                server.start()
            self._at_once(lambda server: server.ready())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all that run here, at once."""
        self._at_once(lambda server: server.stop())
        self._lock.close()

    def _at_once(self, step: Callable[[Server], None]) -> None:
        if not self.started:
            return
        with ThreadPoolExecutor(len(self.started)) as pool:
            futures = [pool.submit(step, server) for server in self.started.values()]
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
