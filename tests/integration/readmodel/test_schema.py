"""The migrated schema, and who may do what in it."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from livebalance.readmodel.migrate import migrate
from livebalance.readmodel.tables import metadata
from livebalance.stack.database import Database
from livebalance.stack.servers import Servers


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_the_tables_are_what_the_migrations_make(database: Database) -> None:
    engine = create_async_engine(database.url("owner").replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(_differences) == []
    finally:
        await engine.dispose()


@pytest.fixture
async def empty(postgres_server: Servers, database: Database) -> AsyncIterator[str]:
    """A database without a schema."""
    name = f"{database.name}-empty"
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute(f'create database "{name}"')
    yield postgres_server.postgres("owner", name)
    await connection.execute(f'drop database "{name}" with (force)')
    await connection.close()


async def test_many_may_migrate_at_once(empty: str) -> None:
    await asyncio.gather(*(migrate(empty) for _ in range(4)))
    connection = await asyncpg.connect(empty)
    try:
        assert await connection.fetchval("select count(*) from alembic_version") == 1
        assert await connection.fetchval("select count(*) from truth") == 0
    finally:
        await connection.close()


FORBIDDEN = [
    ("projector", "delete from balance"),
    ("projector", "delete from quarantine"),
    ("projector", "update transfer set amount = 0"),
    ("projector", "truncate transfer"),
    ("projector", "create table mine (x int)"),
    ("gateway", "update balance set revision = 1"),
    ("gateway", "delete from transfer"),
    ("gateway", "select * from quarantine"),
    ("analyst", "select * from public.balance"),
    ("operator", "update balance set revision = 1"),
    ("operator", "delete from revocation"),
    ("operator", "insert into revocation (subject, at, why) values ('s', 'epoch', 'earlier')"),
    ("gateway", "insert into revocation (subject, why) values ('s', 'by itself')"),
    ("analyst", "select * from public.revocation"),
]


async def test_a_role_may_do_no_more_than_it_needs(database: Database) -> None:
    for role, statement in FORBIDDEN:
        connection = await asyncpg.connect(database.url(role))
        try:
            await connection.execute("set default_transaction_read_only = off")  # rights stand by themselves
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        finally:
            await connection.close()


LIMITS = [
    ("projector", "idle_in_transaction_session_timeout", "5s"),
    ("projector", "tcp_user_timeout", "10000"),
    ("gateway", "default_transaction_read_only", "on"),
    ("gateway", "statement_timeout", "5s"),
    ("analyst", "default_transaction_read_only", "on"),
    ("analyst", "statement_timeout", "30s"),
]


async def test_a_role_brings_its_limits(database: Database) -> None:
    for role, setting, value in LIMITS:
        connection = await asyncpg.connect(database.url(role))
        try:
            assert await connection.fetchval(f"show {setting}") == value
        finally:
            await connection.close()
