"""The world of a projector's test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.stack.servers.topics import Topics
from tests.integration.projector.world import World
from tests.servers.database import Database


@pytest.fixture
def world(  # noqa: PLR0917 - a fixture names what it needs
    kafka: str, topics: Topics, database: Database, redis_url: str, channel_prefix: str, tmp_path: Path
) -> Iterator[World]:
    """Real servers; every projector started in it is stopped at the end."""
    one = World(kafka, topics, database, redis_url, channel_prefix, tmp_path)
    yield one
    one.stop()
