"""The database of the shadow: created if it is missing, migrated, and dropped at the end."""

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg

from livebalance.cli.errors import UserError
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.rebuild import comparison

_CONNECT_SECONDS = 10.0
_LOCK_SECONDS = 10
_COMMAND_SECONDS = 3600.0  # longest statement: a comparison of all accounts
_MAINTENANCE = "postgres"
_LOCK = 0x72656275696C64  # "rebuild" in ASCII: the advisory lock of the shadow
_IDENTITY = "select system_identifier::text || '/' || current_database() from pg_control_system()"


def database_name(url: str) -> str:
    """Returns the name of the database in a URL. Raises UserError if there is none."""
    if name := urlsplit(url).path.removeprefix("/"):
        return name
    raise UserError("a URL of Postgres names no database: postgresql://user@host:port/database")


def with_database(url: str, name: str) -> str:
    """Returns the URL of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def connect(url: str, **settings: str) -> Connection:
    """Returns a connection for long statements, with settings of Postgres."""
    return await asyncpg.connect(
        url,
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
        server_settings={
            "application_name": "livebalance rebuild",
            "jit": "off",
            "lock_timeout": f"{_LOCK_SECONDS}s",
            **settings,
        },
    )


@contextlib.asynccontextmanager
async def open_shadow(url: str, live: Connection, *, restart: bool) -> AsyncIterator[Connection]:
    """Yields a connection to the shadow, which no other command uses. Creates and migrates it if necessary.

    `restart`: drops an existing shadow first.

    Raises:
        UserError: The database cannot be created, is not a shadow, or is in use.
    """
    shadow = await _connect_or_create(url)
    try:
        await _check(shadow, url, live)
        if restart:
            shadow.terminate()
            await drop_shadow(url)
            shadow = await _connect_or_create(url)
            await _check(shadow, url, live)
        await comparison.reserve(shadow)
        await _migrate(url)
        versions = [await side.fetchval("select version_num from alembic_version") for side in (live, shadow)]
        if versions[0] != versions[1]:
            raise UserError(
                f"the projection has migration {versions[0]}, not {versions[1]}: migrate it first"
            )
        await comparison.create_scratch(shadow)
        yield shadow
    finally:
        shadow.terminate()


async def _check(shadow: Connection, url: str, live: Connection) -> None:
    """Raises UserError if a database must not be used as the shadow, or another command uses it."""
    if await shadow.fetchval(_IDENTITY) == await live.fetchval(_IDENTITY):
        raise UserError("--shadow names the database of the projection itself")
    try:
        await shadow.execute("select pg_advisory_lock($1)", _LOCK)
    except asyncpg.LockNotAvailableError:
        raise UserError(f"another command rebuilds into {database_name(url)}") from None
    if await comparison.is_foreign(shadow):
        raise UserError(f"{database_name(url)} contains tables and is not a shadow: name another database")


async def _connect_or_create(url: str) -> Connection:
    try:
        return await connect(url)
    except asyncpg.InvalidCatalogNameError:
        pass
    name = database_name(url)
    await _manage(
        url, f'create database "{name}"', f"create the database {name}, and give it to the user of --shadow"
    )
    return await connect(url)


async def drop_shadow(url: str) -> None:
    """Drops the database of the shadow."""
    name = database_name(url)
    await _manage(url, f'drop database if exists "{name}" with (force)', f"drop the database {name}")


async def _manage(url: str, statement: str, remedy: str) -> None:
    try:
        connection = await connect(with_database(url, _MAINTENANCE))
        try:
            await connection.execute(statement)
        finally:
            connection.terminate()
    except asyncpg.PostgresError as cause:
        raise UserError(f"{cause}: {remedy}") from cause


async def _migrate(url: str) -> None:
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - slow; other commands do not need it

    from livebalance.readmodel.migrate import migrate  # noqa: PLC0415

    try:
        await migrate(url)
    except DBAPIError as cause:
        raise UserError(f"the shadow was not migrated: {cause.orig}") from cause
