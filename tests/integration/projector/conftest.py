"""The pipeline of a projector's test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.stack.servers.topics import Topics
from tests.integration.projector.pipeline import Pipeline
from tests.servers.database import Database


@pytest.fixture
def pipeline(  # noqa: PLR0917 - a fixture names what it needs
    kafka: str, topics: Topics, database: Database, redis_url: str, channel_prefix: str, tmp_path: Path
) -> Iterator[Pipeline]:
    """Runs on real servers. Every projector that a test starts is stopped at the end."""
    pipeline = Pipeline(kafka, topics, database, redis_url, channel_prefix, tmp_path)
    yield pipeline
    pipeline.stop()
