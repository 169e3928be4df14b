"""Kafka, Postgres and Redis in containers of a Docker engine on this machine, for who asks for them.

Images and settings are those of `docker-compose.yml`, addresses are of loopback alone. What is durable is in
a volume named after the place; the rest goes with its container.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping

from docker.errors import DockerException, NotFound
from redis.exceptions import RedisError
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.exceptions import ContainerStartException
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from livebalance.stack.build.jars import KAFKA, Progress, silent
from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.servers import kafka, postgres, redis

# Kafka's image is the project's own, as in `docker-compose.yml`: testcontainers knows Confluent's.
IMAGES = {
    "kafka": f"apache/kafka:{KAFKA}",
    "postgres": "postgres:18.6-bookworm",
    "redis": "redis:8.8.3-alpine",
}
_DATA = {"kafka": "/var/lib/kafka/data", "postgres": "/var/lib/postgresql"}
_READY = 120.0  # seconds
_STOP = 20  # seconds


def check_engine() -> None:
    """Ask for an engine: its command line on this machine would prove nothing.

    Raises:
        Trouble: none answers.
    """
    try:
        engine = DockerClient().client
        with contextlib.closing(engine):
            engine.ping()
    except (DockerException, OSError) as error:
        raise _no_engine() from error


def _no_engine() -> StackError:
    return StackError(
        "LIVEBALANCE_STACK=docker, and no Docker engine answers: start one (`docker info` must name a "
        "server), or leave the variable out to have embedded servers"
    )


class ContainerServer:
    """A server in a container, a new one each time it starts, on a port of loopback that is free then."""

    def __init__(self, name: str, place: StatePaths, *, durable: bool) -> None:
        self._name = name
        self._durable = durable
        self._volume = volume(place, name) if durable and name in _DATA else None
        self._container: DockerContainer | None = None
        self.port = 0

    def prepare(self, progress: Progress = silent) -> None:
        """There is nothing to prepare: an engine fetches the image when it is first wanted."""

    def start(self) -> None:
        """Describe the container, on a port that is free now; `ready` runs it, which takes its time."""
        self.port = free_port()
        described = _MAKE[self._name](self.port, self._durable)
        if self._volume:
            described.with_volume_mapping(self._volume, _DATA[self._name], "rw")
        self._container = described

    def ready(self) -> None:
        """Run it, and wait until it serves.

        Raises:
            Trouble: the engine refused, or it does not serve in time.
        """
        assert self._container
        try:
            self._container.start()
        except (DockerException, OSError, RuntimeError, RedisError) as error:
            why = (str(error).splitlines() or [repr(error)])[0]
            raise StackError(f"{self._name} did not come up in a container: {why} (docker ps -a)") from error

    def stop(self) -> None:
        """Stop it cleanly and remove it; what is durable stays."""
        running, self._container = self._container, None
        if running is None:
            return
        with contextlib.suppress(NotFound, ContainerStartException):
            running.get_wrapped_container().stop(timeout=_STOP)
        with contextlib.suppress(NotFound):
            running.stop()


def volume(place: StatePaths, name: str) -> str:
    """The volume that holds what a place's server of this name keeps."""
    whose = hashlib.sha256(str(place.state).encode()).hexdigest()[:12]
    return f"livebalance-{name}-{whose}"


def forget(place: StatePaths) -> None:
    """Remove what durable servers of a place have kept.

    Raises:
        Trouble: no engine answers, or one of them is in use.
    """
    check_engine()
    with contextlib.closing(DockerClient().client) as engine:
        for name in _DATA:
            try:
                engine.volumes.get(volume(place, name)).remove()
            except NotFound:
                continue
            except DockerException as error:
                raise StackError(f"the volume of {name} cannot be removed: {error}") from error


def _published(container: DockerContainer, inside: int, port: int) -> DockerContainer:
    container.ports[str(inside)] = ("127.0.0.1", port)  # type: ignore[assignment]  # the engine's client takes a pair too
    return container


def _with(container: DockerContainer, environment: Mapping[str, str]) -> DockerContainer:
    for name, value in environment.items():
        container.with_env(name, value)
    return container


def _kafka(port: int, durable: bool) -> DockerContainer:
    told = kafka.properties(f"0.0.0.0:{port}", f"127.0.0.1:{port}", port + 1, f"{_DATA['kafka']}/log")
    container = DockerContainer(IMAGES["kafka"])
    container.waiting_for(LogMessageWaitStrategy(kafka.READY).with_startup_timeout(int(_READY)))
    return _published(_with(container, kafka.environment(told)), port, port)


def _postgres(port: int, durable: bool) -> DockerContainer:
    container = PostgresContainer(
        IMAGES["postgres"], username=postgres.OWNER, dbname=postgres.DATABASE, driver="asyncpg"
    )
    container.with_command(["postgres", *postgres.options(postgres.settings(durable=durable))])
    told = {"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_INITDB_ARGS": " ".join(postgres.LOCALE)}
    return _published(_with(container, told), 5432, port)


def _redis(port: int, durable: bool) -> DockerContainer:
    container = RedisContainer(IMAGES["redis"])
    container.with_command(["redis-server", *redis.options({"protected-mode": "no", **redis.SETTINGS})])
    return _published(container, 6379, port)


_MAKE: Mapping[str, Callable[[int, bool], DockerContainer]] = {
    "kafka": _kafka,
    "postgres": _postgres,
    "redis": _redis,
}
