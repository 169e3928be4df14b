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


def configured(connection: Connection) -> Config:
    """Alembic's commands for our migrations, on this connection."""
    config = Config()
    config.set_main_option(
        "script_location", str(files("livebalance.readmodel") / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    connection.execute(text(f"set local lock_timeout = '{_TIMEOUT_S}s'"))
    connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    command.upgrade(configured(connection), "head")


async def migrate(url: str) -> None:
    """`url`: postgresql://owner@host:port/database, a role that may create roles and tables.

    Raises TimeoutError when it takes longer than two minutes, and what the driver raises.
    """
    # Made by asyncpg itself: only so a URL means what it means to the services, its `sslmode` too.
    engine = create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, url))
    try:
        async with asyncio.timeout(_TIMEOUT_S), engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
