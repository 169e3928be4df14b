"""Migrates a database to the newest schema. Several processes may do so at once: they wait for a lock."""

import asyncio
from functools import partial
from importlib.resources import files

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

_LOCK = 0x6C69766562616C  # "livebal" in ASCII: the advisory lock of all migrations
_TIMEOUT_SECONDS = 120

# Postgres only warns if the role may not revoke a privilege. So these privileges are read back afterwards.
_UNREVOKED = """
select format('revoke temporary on database %I from public', current_database())
 where has_database_privilege('analyst', current_database(), 'temporary')
 union all
select format('revoke execute on function %s from public', oid::regprocedure) from pg_proc
 where pronamespace = 'pg_catalog'::regnamespace
   and proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message')
   and has_function_privilege('analyst', oid, 'execute')
 union all
select 'alter role analyst set temp_file_limit = ''1GB''' from pg_roles
 where rolname = 'analyst' and coalesce(array_to_string(rolconfig, ','), '') not like '%temp_file_limit=%'
   and current_setting('temp_file_limit') = '-1'
 order by 1
"""

# Built beside the writing of batches. An index that an interrupted build has left is not valid.
_DROP_INVALID_INDEX = """
select 'drop index concurrently ' || indexrelid::regclass from pg_index
 where indexrelid = to_regclass($1) and not indisvalid
"""
_INDEXES = {
    "balance_client": "on balance (client_id)",
    "transfer_source": "on transfer using brin (source_offset int8_minmax_multi_ops)"
    " with (autosummarize = on)",
}


def alembic_config(connection: Connection) -> Config:
    """Returns the configuration for Alembic's commands to run the migrations on `connection`."""
    config = Config()
    config.set_main_option(
        "script_location", str(files("livebalance.readmodel") / "migrations").replace("%", "%%")
    )
    config.set_main_option("recursive_version_locations", "true")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> list[str]:
    connection.execute(text(f"set local lock_timeout = '{_TIMEOUT_SECONDS}s'"))
    connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    command.upgrade(alembic_config(connection), "head")
    return [row[0] for row in connection.exec_driver_sql(_UNREVOKED)]


async def migrate(url: str) -> list[str]:
    """Migrates the database and returns the statements that a superuser still has to run.

    These statements revoke privileges by which analysts can still write, and which this role may not revoke.

    Args:
        url: postgresql://owner@host:port/database. The role must be allowed to create roles and tables.

    Raises:
        TimeoutError: The migration, without its last indexes, took longer than two minutes.
        sqlalchemy.exc.DBAPIError: The database refused a statement.
        OSError: The server is unreachable.
    """
    # asyncpg itself connects, so that the URL means the same as in the services, including `sslmode`.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, url))
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), engine.begin() as connection:
            unrevoked = await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
    await _build_indexes(url)
    return unrevoked


async def _build_indexes(url: str) -> None:
    """Builds the indexes of large tables, unless they exist. Reads all accounts and transfers."""
    connection = await asyncpg.connect(url, timeout=_TIMEOUT_SECONDS)
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        for name, definition in _INDEXES.items():
            if (drop := await connection.fetchval(_DROP_INVALID_INDEX, name)) is not None:
                await connection.execute(drop)
            await connection.execute(f"create index concurrently if not exists {name} {definition}")
    finally:
        await connection.close()
