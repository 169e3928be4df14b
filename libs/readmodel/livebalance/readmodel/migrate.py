"""Brings a database to the newest schema. Safe to run from many processes at once: they queue on a lock."""

import asyncio
from functools import partial
from importlib.resources import files

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

_LOCK = 0x6C69766562616C  # "livebal": one advisory lock for every migration of this database
_TIMEOUT_S = 120

# Who may not revoke is warned by Postgres, not refused: so what an analyst may is looked at afterwards.
_OPEN = """
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


def configured(connection: Connection) -> Config:
    """Alembic's commands for our migrations, on this connection."""
    config = Config()
    config.set_main_option(
        "script_location", str(files("livebalance.readmodel") / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> list[str]:
    connection.execute(text(f"set local lock_timeout = '{_TIMEOUT_S}s'"))
    connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    command.upgrade(configured(connection), "head")
    return [row[0] for row in connection.exec_driver_sql(_OPEN)]


async def migrate(url: str) -> list[str]:
    """`url`: postgresql://owner@host:port/database, a role that may create roles and tables.

    Returns what it may not do itself: the statements with which a superuser closes the ways to write that
    analysts still have.

    Raises TimeoutError when it takes longer than two minutes, and what the driver raises.
    """
    # Made by asyncpg itself: only so a URL means what it means to the services, its `sslmode` too.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, url))
    try:
        async with asyncio.timeout(_TIMEOUT_S), engine.begin() as connection:
            return await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
