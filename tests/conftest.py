"""Fixtures for real servers. Each test gets its own topics, database and channels.

A server starts when the first test needs it, and serves all tests of its worker. If the environment names a
server (LIVEBALANCE_KAFKA and so on), tests use that server instead.
"""

import functools
import itertools
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# Fixtures import what only they need, so that a single file of pure tests starts in a second.
if TYPE_CHECKING:
    from livebalance.stack.paths import StatePaths
    from livebalance.stack.servers.servers import Servers
    from livebalance.stack.servers.topics import Topics
    from tests.previous import Previous
    from tests.servers.database import Database
    from tests.servers.redis_cluster import RedisCluster

# A developer's run is quick, and CI searches further. `pytest --hypothesis-profile=ci` selects CI's profile.
# Hypothesis' own profile for CI repeats the same examples in each run. Here each run has others, and a
# failure prints what repeats it: the seed (`--hypothesis-seed`) and a blob (`@reproduce_failure`).
settings.register_profile(
    "default",
    max_examples=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # other processes may slow the machine down
)
settings.register_profile(
    "ci", settings.get_profile("ci"), max_examples=100, derandomize=False, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "default")

_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 4 * 1024**3  # free: five workers need one or two
_SHRINKING_SECONDS = 600  # Hypothesis shrinks for up to 300 s: the time-out must not hide what it finds

_serial = itertools.count(1)

MakeTopics = Callable[..., Awaitable["Topics"]]


def _unique(name: str) -> str:
    return f"{name}-{os.getpid()}-{next(_serial)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives tests of properties the time to shrink a failure."""
    for item in items:
        function = getattr(item, "obj", None)
        if getattr(function, "is_hypothesis_test", False) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_SHRINKING_SECONDS))


def pytest_collection_finish() -> None:
    """Makes all HTTP clients of this process share the authorities of TLS, and tracebacks short.

    httpx loads the authorities for each client, which takes 30 ms of CPU time. A test of a gateway makes two
    clients. Unless it is configured, as in a service, structlog formats all local variables of a traceback.
    That takes 10 s for a request, and the gateway in this process answers nobody meanwhile.
    """
    if structlog := sys.modules.get("structlog"):
        *processors, _ = structlog.get_config()["processors"]
        short = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        structlog.configure(processors=[*processors, short])
    if transports := sys.modules.get("httpx._transports.default"):
        transports.create_ssl_context = functools.cache(transports.create_ssl_context)  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def paths() -> "Iterator[StatePaths]":
    """An empty state directory of this worker. It is removed at the end, unless KEEP_STATE is set."""
    from livebalance.stack.paths import StatePaths

    home = StatePaths.from_environment().home
    paths = StatePaths(home, _state_directory(home) / str(os.getpid()))
    yield paths
    if not os.environ.get("KEEP_STATE"):
        shutil.rmtree(paths.state, ignore_errors=True)


def _state_directory(home: Path) -> Path:
    """Returns the directory of all workers' states: in memory if it has room, else in `home`.

    On a disk, the copy of a database takes ten times the CPU time. What killed workers left is removed.
    """
    kept = home / "tests"
    if (
        os.environ.get("KEEP_STATE")
        or not _MEMORY.is_dir()
        or shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES
    ):
        return kept
    states = _MEMORY / f"livebalance-tests-{os.getuid()}"
    states.mkdir(mode=0o755, exist_ok=True)
    for state in states.iterdir():
        if not Path("/proc", state.name).exists():
            shutil.rmtree(state, ignore_errors=True)
    return states


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Restores the log handlers and the log level after the test."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def _started(paths: "StatePaths", part: str) -> "Iterator[Servers]":
    from livebalance.stack.paths import StatePaths
    from livebalance.stack.servers.servers import Servers

    with Servers(StatePaths(paths.home, paths.state / part), parts=[part], durable=False) as servers:
        yield servers


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium. Without a Chromium the test is skipped, and fails in CI."""
    # The shell is the same engine without windows, and takes a third of the processor time.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("LIVEBALANCE_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "skipped: no browser found (install Chromium, or set LIVEBALANCE_CHROMIUM to its path)"
        )
    return path


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> "Previous":
    """The code of the previous release. The test is skipped in a clone without history.

    In CI it fails if the history is complete but does not have that release.
    """
    from tests.previous import NoHistoryError, is_complete_clone, unpack

    try:
        return unpack(tmp_path_factory.mktemp("previous"))
    except NoHistoryError as missing:
        (pytest.fail if os.environ.get("CI") and is_complete_clone() else pytest.skip)(f"skipped: {missing}")


@pytest.fixture(scope="session")
def kafka_server(paths: "StatePaths") -> "Iterator[Servers]":
    """The broker of this worker."""
    yield from _started(paths, "kafka")


@pytest.fixture(scope="session")
def kafka(kafka_server: "Servers") -> str:
    """The address of a Kafka broker, as host:port."""
    return kafka_server.kafka


@pytest.fixture(scope="session")
def postgres_server(paths: "StatePaths") -> "Iterator[Servers]":
    """The Postgres server of this worker, with a migrated template."""
    from tests.servers.database import make_template

    for servers in _started(paths, "postgres"):
        make_template(servers.postgres)
        yield servers


@pytest.fixture(scope="session")
def redis_server(paths: "StatePaths") -> "Iterator[Servers]":
    """The Redis server of this worker."""
    yield from _started(paths, "redis")


@pytest.fixture(scope="session")
def redis_url(redis_server: "Servers") -> str:
    """The URL of a Redis server."""
    return redis_server.redis()


@pytest.fixture
def own_redis(paths: "StatePaths", tmp_path: Path) -> "Iterator[Servers]":
    """A Redis server for a single test, which may stop it."""
    from livebalance.stack.paths import StatePaths
    from livebalance.stack.servers.servers import Servers

    with Servers(
        StatePaths(paths.home, tmp_path / "redis"), parts=["redis"], durable=False, only_embedded=True
    ) as servers:
        yield servers


@pytest.fixture
def redis_cluster(paths: "StatePaths") -> "Iterator[RedisCluster]":
    """A Redis cluster for a single test, which may stop its nodes. It needs a password.

    Nodes flush their configuration to the disk before they vote: on a busy disk no replica takes over.
    """
    from livebalance.stack.paths import StatePaths
    from tests.servers.redis_cluster import RedisCluster

    state = paths.state / _unique("redis-cluster")
    with RedisCluster(StatePaths(paths.home, state), password="of-this-test") as cluster:
        yield cluster


@pytest.fixture
def channel_prefix() -> str:
    """A channel prefix for a single test. Redis' pub/sub does not separate databases."""
    return _unique("test") + ":"


@pytest.fixture
async def make_topics(kafka: str) -> AsyncIterator[MakeTopics]:
    """A function that creates fresh topics, by default with three partitions."""
    from livebalance.runtime.kafka.connection import Broker
    from livebalance.stack.servers.topics import Topics
    from tests.servers.topics import delete_topics

    made: list[Topics] = []

    async def make(partitions: int = 3) -> Topics:
        names = [_unique(name) for name in ("transfers", "account-balances", "account-lifecycle")]
        topics = Topics(names[0], names[1], partitions, lifecycle=names[2])
        await topics.create(Broker(kafka))
        made.append(topics)
        return topics

    yield make
    for topics in made:
        await delete_topics(topics, Broker(kafka))


@pytest.fixture
async def topics(make_topics: MakeTopics) -> "Topics":
    """A fresh pair of topics of three partitions."""
    return await make_topics()


@pytest.fixture
async def database(postgres_server: "Servers") -> "AsyncIterator[Database]":
    """A fresh database with the schema and no rows. `database.url(role)` is its URL for a role."""
    from tests.servers.database import Database

    fresh = Database(postgres_server.postgres, _unique("test"))
    await fresh.create()
    yield fresh
    await fresh.drop()


@pytest.fixture
def environment(
    kafka: str, topics: "Topics", database: "Database", redis_url: str, channel_prefix: str
) -> dict[str, str]:
    """The environment of a service in this test, without LIVEBALANCE_POSTGRES, which depends on the role."""
    return {
        "LIVEBALANCE_KAFKA": kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
        "LIVEBALANCE_LIFECYCLE_TOPIC": topics.lifecycle,
        "LIVEBALANCE_POSTGRES_OWNER": database.url("owner"),
        "LIVEBALANCE_REDIS": redis_url,
        "LIVEBALANCE_CHANNEL_PREFIX": channel_prefix,
    }
