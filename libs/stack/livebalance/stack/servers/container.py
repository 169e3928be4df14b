"""Kafka, Postgres and Redis in containers of a Docker engine on this machine (LIVEBALANCE_STACK=docker).

Images and settings equal those of `docker-compose.yml`; ports are published on loopback only. Durable data is
in a volume, which is named after the state directory; all other data is deleted with its container.
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

from livebalance.stack.build.jars import KAFKA_VERSION, ProgressCallback, no_progress
from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.servers import kafka, postgres, redis

# Apache's image of Kafka, as in `docker-compose.yml`: testcontainers has a class for Confluent's only.
IMAGES = {
    "kafka": f"apache/kafka:{KAFKA_VERSION}",
    "postgres": "postgres:18.6-bookworm",
    "redis": "redis:8.8.3-alpine",
}
_DATA_DIRECTORIES = {"kafka": "/var/lib/kafka/data", "postgres": "/var/lib/postgresql"}
_READY_SECONDS = 120.0
_STOP_SECONDS = 20


def check_engine() -> None:
    """Checks that a Docker engine answers.

    Raises:
        StackError: none answers.
    """
    try:
        engine = DockerClient().client
        with contextlib.closing(engine):
            engine.ping()
    except (DockerException, OSError) as error:
        raise _no_engine() from error


def _no_engine() -> StackError:
    return StackError(
        "LIVEBALANCE_STACK=docker, but no Docker engine answers: start one (`docker info` must show a "
        "server), or unset the variable to use embedded servers"
    )


class ContainerServer:
    """A server in a container. Each start creates another container, on a free loopback port."""

    def __init__(self, name: str, paths: StatePaths, *, durable: bool) -> None:
        self._name = name
        self._durable = durable
        self._volume = volume_name(paths, name) if durable and name in _DATA_DIRECTORIES else None
        self._container: DockerContainer | None = None
        self.port = 0

    def prepare(self, progress: ProgressCallback = no_progress) -> None:
        """Does nothing: the engine pulls the image when `ready` runs it."""

    def start(self) -> None:
        """Takes a free port and describes the container; `ready` runs it, because that may take minutes."""
        self.port = free_port()
        container = _FACTORIES[self._name](self.port, self._durable)
        if self._volume:
            container.with_volume_mapping(self._volume, _DATA_DIRECTORIES[self._name], "rw")
        self._container = container

    def ready(self) -> None:
        """Runs the container, and waits until the server accepts connections.

        Raises:
            StackError: the engine cannot run it, or the server is not ready in time.
        """
        assert self._container
        try:
            self._container.start()
        except (DockerException, OSError, RuntimeError, RedisError) as error:
            cause = (str(error).splitlines() or [repr(error)])[0]
            raise StackError(f"{self._name} did not start in a container: {cause} (docker ps -a)") from error

    def stop(self) -> None:
        """Stops the server cleanly and removes the container; durable data stays in its volume."""
        container, self._container = self._container, None
        if container is None:
            return
        with contextlib.suppress(NotFound, ContainerStartException):
            container.get_wrapped_container().stop(timeout=_STOP_SECONDS)
        with contextlib.suppress(NotFound):
            container.stop()


def volume_name(paths: StatePaths, name: str) -> str:
    """Returns the name of the volume with the data of a server."""
    state = hashlib.sha256(str(paths.state).encode()).hexdigest()[:12]
    return f"livebalance-{name}-{state}"


def remove_volumes(paths: StatePaths) -> None:
    """Removes the data of all durable servers.

    Raises:
        StackError: no engine answers, or a volume is in use.
    """
    check_engine()
    with contextlib.closing(DockerClient().client) as engine:
        for name in _DATA_DIRECTORIES:
            try:
                engine.volumes.get(volume_name(paths, name)).remove()
            except NotFound:
                continue
            except DockerException as error:
                raise StackError(f"cannot remove the volume of {name}: {error}") from error


def _publish(container: DockerContainer, inside: int, port: int) -> DockerContainer:
    container.ports[str(inside)] = ("127.0.0.1", port)  # type: ignore[assignment]  # docker-py accepts a pair too
    return container


def _with_environment(container: DockerContainer, environment: Mapping[str, str]) -> DockerContainer:
    for name, value in environment.items():
        container.with_env(name, value)
    return container


def _kafka(port: int, durable: bool) -> DockerContainer:
    properties = kafka.properties(
        f"0.0.0.0:{port}", f"127.0.0.1:{port}", port + 1, f"{_DATA_DIRECTORIES['kafka']}/log"
    )
    container = DockerContainer(IMAGES["kafka"])
    container.waiting_for(LogMessageWaitStrategy(kafka.READY).with_startup_timeout(int(_READY_SECONDS)))
    return _publish(_with_environment(container, kafka.environment(properties)), port, port)


def _postgres(port: int, durable: bool) -> DockerContainer:
    container = PostgresContainer(
        IMAGES["postgres"], username=postgres.OWNER, dbname=postgres.DATABASE, driver="asyncpg"
    )
    container.with_command(["postgres", *postgres.options(postgres.settings(durable=durable))])
    environment = {"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_INITDB_ARGS": " ".join(postgres.LOCALE)}
    return _publish(_with_environment(container, environment), 5432, port)


def _redis(port: int, durable: bool) -> DockerContainer:
    container = RedisContainer(IMAGES["redis"])
    container.with_command(["redis-server", *redis.options({"protected-mode": "no", **redis.SETTINGS})])
    return _publish(container, 6379, port)


_FACTORIES: Mapping[str, Callable[[int, bool], DockerContainer]] = {
    "kafka": _kafka,
    "postgres": _postgres,
    "redis": _redis,
}
