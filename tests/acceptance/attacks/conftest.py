"""What the gateway processes under attack share."""

import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from livebalance.stack.paths import StatePaths
from tests.acceptance.attacks.attacked_stack import AttackedStack, attacked_stack
from tests.integration.gateway.fake_projector import FakeProjector
from tests.servers.database import Database
from tests.tokens import SECRET

if TYPE_CHECKING:
    from livebalance.stack.servers.servers import Servers


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    paths: StatePaths,
    postgres_server: "Servers",
    redis_url: str,
    settings: dict[str, str],
    request: pytest.FixtureRequest,
) -> AsyncIterator[AttackedStack]:
    """The gateway that all attacks of a module share, with the module's `settings`."""
    name = request.module.__name__.rpartition(".")[2]
    database = Database(postgres_server.postgres, f"{name}-{os.getpid()}")
    await database.create()
    own_paths = StatePaths(paths.home, paths.state / name)
    try:
        async with attacked_stack(database, redis_url, own_paths, settings) as stack:
            yield stack
    finally:
        await database.drop()
