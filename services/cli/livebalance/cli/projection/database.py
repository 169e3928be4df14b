"""Connections to Postgres as the role `operator`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.operator.status_reads import read_server, read_status
from livebalance.readmodel.operator.status_rows import ProjectionStatus, ServerStatus

TIMEOUT_SECONDS = 5.0  # for the connection and all its statements, unless they may be many
READ_SECONDS = 30.0  # of a command that only reads; a read holds nobody up


@contextlib.asynccontextmanager
async def operator_connection(
    failure: str, timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncIterator[Connection]:
    """Yields a connection, for at most `timeout_seconds`.

    Raises:
        UserError: Postgres failed. The message begins with `failure`, such as "nothing was revoked".
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            connection = await asyncpg.connect(addresses.postgres("operator"))
            try:
                yield connection
            finally:
                connection.terminate()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
        raise UserError(f"{failure}: Postgres: {str(cause) or type(cause).__name__}") from cause


async def read_projection() -> tuple[ServerStatus, ProjectionStatus | None]:
    """Returns the state of the server and of the projection. Raises UserError."""
    async with operator_connection("nothing can be shown", READ_SECONDS) as connection:
        return await read_server(connection), await read_status(connection)
