"""Databases for tests: copies of a template that is migrated once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from livebalance.readmodel.migrate import migrate

_TEMPLATE = "livebalance_template"


@dataclass(frozen=True)
class Database:
    """A database on a server. `address(role, database)` returns a URL of the server."""

    address: Callable[[str, str], str]
    name: str

    def url(self, role: str) -> str:
        """Returns the URL for a role: owner, projector, gateway, operator or analyst."""
        return self.address(role, self.name)

    async def create(self) -> None:
        """Creates the database, with the schema and no rows."""
        # Without a copy through the log, which takes twice the CPU time.
        await self._manage(f'create database "{self.name}" template {_TEMPLATE} strategy file_copy')

    async def drop(self) -> None:
        """Drops the database and closes its connections."""
        await self._manage(f'drop database if exists "{self.name}" with (force)')

    @asynccontextmanager
    async def locked(self, table: str) -> AsyncIterator[None]:
        """Locks the table, so that nobody writes it while the block runs."""
        owner = await asyncpg.connect(self.url("owner"), timeout=30)
        try:
            async with owner.transaction():
                await owner.execute(f"lock table {table} in share mode")
                yield
        finally:
            await owner.close()

    async def _manage(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.address("owner", "postgres"), timeout=30)
        try:
            for statement in statements:
                await connection.execute(statement, timeout=30)
        finally:
            await connection.close()


def make_template(address: Callable[[str, str], str]) -> None:
    """Creates the template of all databases; replaces an existing template."""

    async def make() -> None:
        template = Database(address, _TEMPLATE)
        await template.drop()
        await template._manage(f"create database {_TEMPLATE}")
        await migrate(template.url("owner"))

    asyncio.run(make())
