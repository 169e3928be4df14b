"""The migrated schema, and the rights of its roles."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from livebalance.readmodel.migrate import migrate
from livebalance.readmodel.tables import metadata
from tests.servers.database import Database


def _differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_migrated_tables_equal_their_definitions(database: Database) -> None:
    engine = create_async_engine(database.url("owner").replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(_differences) == []
    finally:
        await engine.dispose()


async def test_concurrent_migrations_succeed(empty: str) -> None:
    await asyncio.gather(*(migrate(empty) for _ in range(4)))
    connection = await asyncpg.connect(empty)
    try:
        assert await connection.fetchval("select count(*) from alembic_version") == 1
        assert await connection.fetchval("select count(*) from truth") == 0
    finally:
        await connection.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
async def test_migration_accepts_the_urls_of_services(empty: str, scheme: str) -> None:
    _, _, rest = empty.partition("://")
    await migrate(f"{scheme}://{rest}?sslmode=disable")
    connection = await asyncpg.connect(empty)
    try:
        assert await connection.fetchval("select count(*) from alembic_version") == 1
    finally:
        await connection.close()


FORBIDDEN = [
    ("projector", "delete from balance"),
    ("projector", "delete from quarantine"),
    ("projector", "update quarantine set value = null"),
    ("projector", "update transfer set amount = 0"),
    ("projector", "truncate transfer"),
    ("projector", "delete from lane"),
    ("projector", "create table mine (x int)"),
    ("projector", "create schema mine"),
    ("projector", "create index on balance (lane)"),
    ("projector", "alter table balance add column mine int"),
    ("projector", "alter table balance disable row level security"),
    ("projector", "drop table transfer"),
    ("projector", "drop policy named on balance"),
    ("projector", "create role mine"),
    ("projector", "select * from revocation"),
    ("recorder", "select * from balance"),
    ("recorder", "select value from quarantine"),
    ("recorder", "select epoch from projection"),
    ("recorder", "update quarantine set state = 'applied'"),
    ("recorder", "delete from recorder_lane"),
    ("recorder", "update lane set halted_why = null"),
    ("recorder", "select * from intervention"),
    ("recorder", "create table mine (x int)"),
    ("projector", "select * from recorder_lane"),
    ("operator", "update recorder_lane set other_sources = true"),
    ("gateway", "update balance set revision = 1"),
    ("gateway", "delete from transfer"),
    ("gateway", "insert into projection values (true, 'e', 's', 't', 1)"),
    ("gateway", "update lane set as_of = now()"),
    ("gateway", "create table mine (x int)"),
    ("gateway", "create policy mine on balance using (true)"),
    ("gateway", "alter table balance no force row level security"),
    ("gateway", "alter role gateway bypassrls"),
    ("gateway", "set role projector"),
    ("gateway", "select * from reporting.balances"),
    ("gateway", "select * from quarantine"),
    ("analyst", "select * from public.balance"),
    ("analyst", "select * from public.reconciliation"),
    ("gateway", "select * from reconciliation"),
    ("operator", "delete from reconciliation"),
    ("recorder", "select * from reconciliation_lane"),
    ("operator", "update balance set revision = 1"),
    ("operator", "insert into lane select * from lane"),
    ("operator", "update quarantine set value = null"),
    ("operator", "update quarantine set reason = ''"),
    ("operator", "create table mine (x int)"),
    ("operator", "delete from revocation"),
    ("operator", "update lane set generation = 0"),
    ("operator", "update projection set partitions = 1"),
    ("operator", "delete from intervention"),
    ("operator", "update intervention set why = ''"),
    ("operator", "insert into intervention (what, was, by, why) values ('epoch', '', 'nobody', '')"),
    ("projector", "select * from intervention"),
    ("gateway", "select * from intervention"),
    ("operator", "insert into revocation (subject, at, why) values ('s', 'epoch', 'earlier')"),
    ("gateway", "insert into revocation (subject, why) values ('s', 'by itself')"),
    ("analyst", "select * from public.revocation"),
]


async def test_role_may_do_no_more_than_it_needs(database: Database) -> None:
    for role, statement in FORBIDDEN:
        connection = await asyncpg.connect(database.url(role))
        try:
            await connection.execute("set default_transaction_read_only = off")  # the privileges must suffice
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        finally:
            await connection.close()


async def test_no_role_bypasses_its_privileges(database: Database) -> None:
    connection = await asyncpg.connect(database.url("owner"))
    privileged = "rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication"
    roles = "rolname in ('projector', 'recorder', 'gateway', 'operator', 'analyst')"
    forced = "select relname from pg_class where relrowsecurity and relforcerowsecurity order by 1"
    try:
        assert await connection.fetch(f"select rolname from pg_roles where {roles} and ({privileged})") == []
        assert await connection.fetchval(f"select count(*) from pg_roles where {roles}") == 5
        assert [row[0] for row in await connection.fetch(forced)] == [
            "balance",
            "counted_set",
            "set_total",
            "transfer",
        ]
    finally:
        await connection.close()


LIMITS = [
    ("projector", "idle_in_transaction_session_timeout", "5s"),
    ("projector", "tcp_user_timeout", "10000"),
    ("recorder", "idle_in_transaction_session_timeout", "5s"),
    ("recorder", "statement_timeout", "15s"),
    ("recorder", "tcp_user_timeout", "10000"),
    ("gateway", "default_transaction_read_only", "on"),
    ("gateway", "statement_timeout", "5s"),
    ("analyst", "default_transaction_read_only", "on"),
    ("analyst", "statement_timeout", "30s"),
    ("analyst", "transaction_timeout", "5min"),
    ("analyst", "idle_in_transaction_session_timeout", "1min"),
    ("analyst", "default_transaction_isolation", "repeatable read"),
    ("analyst", "temp_file_limit", "1GB"),
    ("analyst", "max_parallel_workers_per_gather", "0"),
    ("analyst", "jit", "off"),
]


async def test_role_sets_its_limits(database: Database) -> None:
    for role, setting, value in LIMITS:
        connection = await asyncpg.connect(database.url(role))
        try:
            assert await connection.fetchval(f"show {setting}") == value
        finally:
            await connection.close()


OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


@pytest.fixture
async def members(database: Database) -> AsyncIterator[str]:
    """The database name, after the SQL of docs/operations.md created users. They are dropped afterwards."""
    block = re.search(r"```sql\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    assert block
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute(block[1])
    yield database.name
    await connection.execute("drop role projector_a, recorder_a, gateway_a, operator_a")
    await connection.close()


async def test_member_has_the_rights_and_limits_of_its_role(database: Database, members: str) -> None:
    for role, user in (("projector", "projector_a"), ("gateway", "gateway_a")):
        connection = await asyncpg.connect(database.address(user, members))
        try:
            for name, setting, value in LIMITS:
                if name == role:
                    assert await connection.fetchval(f"show {setting}") == value
            await connection.execute("set default_transaction_read_only = off")
            for name, statement in FORBIDDEN:
                if name == role:
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(statement)
            insert = "insert into transfer values ('a', 1, 't', 1, 1, now(), now(), 'x', 0, 0)"
            if role == "projector":
                await connection.execute(insert)
            visible = await connection.fetchval("select count(*) from transfer")
            assert visible == (1 if role == "projector" else 0)
        finally:
            await connection.close()
