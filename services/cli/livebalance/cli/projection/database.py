"""Postgres, for what an operator does there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.readmodel.projector_writes import Connection

WITHIN = 5.0  # seconds for all of it


@contextlib.asynccontextmanager
async def operator_connection(undone: str) -> AsyncIterator[Connection]:
    """A connection as the operator. Raises UserError, which begins with `undone`: what was not done."""
    try:
        async with asyncio.timeout(WITHIN):
            connection = await asyncpg.connect(addresses.postgres("operator"))
            try:
                yield connection
            finally:
                connection.terminate()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
        raise UserError(f"{undone}: Postgres: {str(cause) or type(cause).__name__}") from cause
