"""Kafka, Postgres and Redis, wherever they can be had: named in the environment, else started here.

The order for each part: its URL in the environment; (a Docker engine would stand here); the embedded one.
"""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit, urlunsplit

from livebalance.stack.child import Child
from livebalance.stack.jars import Progress, silent
from livebalance.stack.kafka import Kafka
from livebalance.stack.place import Place, check_platform
from livebalance.stack.postgres import DATABASE, OWNER, Postgres
from livebalance.stack.redis import Redis
from livebalance.stack.trouble import from_os

NAMES = ("kafka", "postgres", "redis")


class Server(Protocol):
    """A server of our own."""

    child: Child

    def prepare(self, progress: Progress = silent) -> None:
        """Do what is done once; may run in a thread. `progress` hears of downloads: bytes done and in all."""

    def start(self) -> None:
        """Start the process, from a thread that lives as long."""

    def ready(self) -> None:
        """Wait until it serves; may run in a thread."""

    def stop(self) -> None:
        """Stop the process."""


class Servers:
    """The three servers of one place; a context manager that leaves none of its own behind.

    `parts` says which of them are wanted; `own` holds those that run here, by name.
    """

    def __init__(
        self,
        place: Place,
        *,
        parts: Collection[str] = NAMES,
        durable: bool = True,
    ) -> None:
        self._place = place
        self._given = {name: os.environ.get(f"LIVEBALANCE_{name.upper()}") for name in NAMES}
        self._wanted = [name for name in parts if not self._given[name]]
        self.own: dict[str, Server] = {}
        self._lock = ExitStack()
        if not self._wanted:
            return
        check_platform()
        try:
            self._embed(durable)
        except OSError as error:
            raise from_os(error) from error

    def _embed(self, durable: bool) -> None:
        if "kafka" in self._wanted:
            self.own["kafka"] = Kafka(self._place)
        if "postgres" in self._wanted:
            self.own["postgres"] = Postgres(self._place, durable=durable)
        if "redis" in self._wanted:
            self.own["redis"] = Redis(self._place)

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        own = self.own.get("kafka")
        return own.address if isinstance(own, Kafka) else self._given["kafka"] or ""

    def postgres(self, role: str = OWNER, database: str = DATABASE) -> str:
        """URL of a database for a role; a server that was given is used as the user it was given with."""
        own = self.own.get("postgres")
        if isinstance(own, Postgres):
            return own.url(role, database)
        parts = urlsplit(self._given["postgres"] or "")
        return urlunsplit(parts._replace(path=f"/{database}"))

    def redis(self, database: int = 0) -> str:
        """URL of a Redis database."""
        own = self.own.get("redis")
        if isinstance(own, Redis):
            return own.url(database)
        return urlunsplit(urlsplit(self._given["redis"] or "")._replace(path=f"/{database}"))

    def start(self) -> None:
        """Start all that run here, at once, and wait until they serve.

        Raises:
            Trouble: one of them did not; none is left running.
        """
        self._lock.enter_context(self._place.locked("servers.lock"))
        try:
            self._at_once(lambda server: server.prepare())
            for server in self.own.values():  # in this thread: they end with the one that starts them
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
        if not self.own:
            return
        with ThreadPoolExecutor(len(self.own)) as pool:
            futures = [pool.submit(step, server) for server in self.own.values()]
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
