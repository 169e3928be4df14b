"""Databases for tests: each a copy of one that was migrated once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from livebalance.readmodel.migrate import migrate

_TEMPLATE = "livebalance_template"


@dataclass(frozen=True)
class Database:
    """A database on a server whose addresses `address(role, database)` gives."""

    address: Callable[[str, str], str]
    name: str

    def url(self, role: str) -> str:
        """Its address for a role: owner, projector, gateway, operator, analyst."""
        return self.address(role, self.name)

    async def create(self) -> None:
        """Make it, with the schema and no rows."""
        await self._manage(f'create database "{self.name}" template {_TEMPLATE}')

    async def drop(self) -> None:
        """Drop it, cutting its connections."""
        await self._manage(f'drop database if exists "{self.name}" with (force)')

    async def _manage(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.address("owner", "postgres"), timeout=10)
        try:
            for statement in statements:
                await connection.execute(statement, timeout=30)
        finally:
            await connection.close()


def make_template(address: Callable[[str, str], str]) -> None:
    """Make the database that the others are copies of, anew."""

    async def make() -> None:
        template = Database(address, _TEMPLATE)
        await template.drop()
        await template._manage(f"create database {_TEMPLATE}")
        await migrate(template.url("owner"))

    asyncio.run(make())
