"""What an analyst's test stands on."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel.projector_writes import Connection
from livebalance.stack.paths import PROJECT
from livebalance.stack.servers.servers import Servers
from tests.integration.readmodel.ledger import FILL
from tests.servers.database import Database


@pytest.fixture
async def analyst(database: Database) -> AsyncIterator[Connection]:
    """Connected as the role, to a database with the accounts of docs/reporting.md."""
    projector = await asyncpg.connect(database.url("projector"))
    await projector.execute(FILL)
    await projector.close()
    connection = await asyncpg.connect(database.url("analyst"), timeout=10)
    yield connection
    await connection.close()


@pytest.fixture
async def ana(database: Database) -> AsyncIterator[str]:
    """The address of a user of his own, whom docs/reporting.md makes."""
    page = (PROJECT / "docs" / "reporting.md").read_text()
    [made] = re.findall(r"```\n(create role ana .*?)```", page, re.DOTALL)
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(made)
    yield database.url("ana")
    await owner.execute("drop role ana")
    await owner.close()


@pytest.fixture
async def empty(postgres_server: Servers, database: Database) -> AsyncIterator[str]:
    """A database without a schema."""
    name = f"{database.name}-empty"
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute(f'create database "{name}"')
    yield postgres_server.postgres("owner", name)
    await connection.execute(f'drop database "{name}" with (force)')
    await connection.close()
