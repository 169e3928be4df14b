"""The cache of Kafka's classes: a broker uses it if it is whole, and starts without it if it is damaged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.stack.build import jars
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers import kafka_classes
from livebalance.stack.servers.kafka import KafkaServer

_FLIPPED = slice(30_000_000, 30_001_000)


@pytest.fixture
def cache(paths: StatePaths) -> Path:
    """The cache of this checkout. `make test` writes it before the tests begin."""
    kafka_classes.write(paths.home)
    return jars.class_cache(paths.home / "jars")


@pytest.fixture
def moved(paths: StatePaths, cache: Path, tmp_path: Path) -> Iterator[KafkaServer]:
    """A broker with the same jars at another place, and a copy of the cache."""
    own = tmp_path / "home" / "jars"
    own.mkdir(parents=True)
    for jar in jars.read_lock():
        (own / jar.name).symlink_to(paths.home / "jars" / jar.name)
    (own / cache.name).write_bytes(cache.read_bytes())
    broker = KafkaServer(StatePaths(own.parent, tmp_path / "state"))
    yield broker
    broker.stop()


def _start(broker: KafkaServer) -> str:
    """Starts the broker, waits until it is ready, and returns its log."""
    broker.prepare()
    broker.start()
    broker.ready()
    return "\n".join(broker.child.tail())


def test_cache_is_written_once(paths: StatePaths, cache: Path) -> None:
    before = cache.stat()
    kafka_classes.write(paths.home)
    assert cache.stat() == before


def test_broker_of_moved_jars_uses_the_cache(moved: KafkaServer) -> None:
    moved.child.command = [moved.child.command[0], "-XX:AOTMode=on", *moved.child.command[1:]]
    assert "[aot" not in _start(moved)  # with this mode, Java does not start without the cache


def test_broker_with_a_damaged_cache_starts_without_it(moved: KafkaServer, cache: Path) -> None:
    content = bytearray(cache.read_bytes())
    content[_FLIPPED] = bytes(byte ^ 0xFF for byte in content[_FLIPPED])
    jars.class_cache(moved.jars).write_bytes(content)
    assert "Unable to map shared spaces" in _start(moved)
