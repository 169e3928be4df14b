"""What the gateway processes under attack share."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.gateway.fake_projector import FakeProjector
from tests.servers.database import Database
from tests.tokens import SECRET


@pytest.fixture
async def projector(database: Database, redis_url: str, channel_prefix: str) -> AsyncIterator[FakeProjector]:
    """Writes what a test needs."""
    async with FakeProjector(database.url("projector"), redis_url, channel_prefix) as projector:
        yield projector


@pytest.fixture
def gateway_environment(database: Database, redis_url: str, channel_prefix: str) -> dict[str, str]:
    """The environment of a gateway in this test."""
    return {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": redis_url,
        "LIVEBALANCE_CHANNEL_PREFIX": channel_prefix,
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
