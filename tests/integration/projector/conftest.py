"""The pipeline of a projector's test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.stack.servers.topics import Topics
from tests.integration.projector.pipeline import Pipeline
from tests.servers.database import Database


@pytest.fixture(autouse=True)
def _long_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengthens deadlines that a stalled machine could miss. A test of a deadline sets its own.

    A batch that Redis does not answer in time is dropped, and a listener would wait for it in vain.
    """
    monkeypatch.setattr("livebalance.projector.redis.publisher._PUBLISH_TIMEOUT_SECONDS", 30.0)
    monkeypatch.setattr("livebalance.projector.redis.connection._CONNECT_TIMEOUT_SECONDS", 30.0)


@pytest.fixture
def pipeline(  # noqa: PLR0917 - a fixture names what it needs
    kafka: str, topics: Topics, database: Database, redis_url: str, channel_prefix: str, tmp_path: Path
) -> Iterator[Pipeline]:
    """Runs on real servers. Every projector that a test starts is stopped at the end."""
    pipeline = Pipeline(kafka, topics, database, redis_url, channel_prefix, tmp_path)
    yield pipeline
    pipeline.stop()
