"""Connections and users for tests of the schema `reporting`."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel.connection import Connection
from livebalance.stack.paths import PROJECT
from livebalance.stack.servers.servers import Servers
from tests.integration.readmodel.sample_accounts import FILL
from tests.servers.database import Database


@pytest.fixture
async def analyst(database: Database) -> AsyncIterator[Connection]:
    """A connection as `analyst` to a database with the accounts of docs/reporting.md."""
    projector = await asyncpg.connect(database.url("projector"))
    await projector.execute(FILL)
    await projector.close()
    connection = await asyncpg.connect(database.url("analyst"), timeout=30)
    yield connection
    await connection.close()


@pytest.fixture
async def ana(database: Database) -> AsyncIterator[str]:
    """The URL of the user `ana`, whom the SQL in docs/reporting.md creates."""
    page = (PROJECT / "docs" / "reporting.md").read_text()
    [create_role] = re.findall(r"```\n(create role ana .*?)```", page, re.DOTALL)
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(create_role)
    yield database.url("ana")
    await owner.execute("drop role ana")
    await owner.close()


@pytest.fixture
async def empty(postgres_server: Servers, database: Database) -> AsyncIterator[str]:
    """The URL of a database that is not migrated yet."""
    name = f"{database.name}-empty"
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute(f'create database "{name}"')
    yield postgres_server.postgres("owner", name)
    await connection.execute(f'drop database "{name}" with (force)')
    await connection.close()
