"""The previous release works on the new schema: migrations expand first (docs/upgrading.md).

tests/previous.toml lists what may be removed, with the reason.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, TypeVar

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection as Sync
from sqlalchemy.ext.asyncio import create_async_engine

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.migrate import alembic_config, migrate
from livebalance.readmodel.tables import metadata
from tests.integration.readmodel.catalogue import Catalogue, breaking_changes, catalogue
from tests.integration.readmodel.sample_accounts import FILL
from tests.previous import PINNED, Previous

Result = TypeVar("Result")
CONTRACTS = {contract["what"] for contract in PINNED["contracts"]}
BREAKS = [
    "alter table balance rename column client_id to client",
    "alter table lane drop column owner",
    "alter table lane alter column owner type varchar(10)",
    "alter table lane alter column as_of set not null",
    "alter table quarantine add column why text not null",
    "alter table projection alter column one drop default",
    "alter table transfer add constraint moves check (amount <> 0)",
    "create unique index on transfer (topic, lane, source_offset)",
    "revoke update on lane from projector",
    "revoke usage on schema reporting from analyst",
    "alter table lane enable row level security",
    "drop policy named on balance",
    "create policy less on balance as restrictive to gateway using (lane = 0)",
    "create trigger late before update on lane for each row"
    " execute function suppress_redundant_updates_trigger()",
    "drop view reporting.freshness",
]
EXPANDS = [
    "alter table balance add column note text",
    "alter table lane add column tries bigint not null default 0",
    "create table more (id bigint primary key, of text not null)",
    "create index on balance (lane)",
    "grant select on quarantine to gateway",
]


class Upgraded(NamedTuple):
    url: str
    connection: Connection
    before: Catalogue


@pytest.fixture
async def upgraded(empty: str, previous: Previous) -> AsyncIterator[Upgraded]:
    """A database that the previous release has created and filled, migrated to the current schema."""
    environment = {**os.environ, **previous.environment, "LIVEBALANCE_POSTGRES_OWNER": empty}
    words = (sys.executable, "-m", "livebalance.readmodel")
    process = await asyncio.create_subprocess_exec(*words, cwd=previous.root, env=environment)
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    connection = await asyncpg.connect(empty)
    try:
        assert await connection.fetchval("select version_num from alembic_version") == PINNED["schema"]
        await connection.execute(FILL)
        before = await catalogue(connection)
        await migrate(empty)
        yield Upgraded(empty, connection, before)
    finally:
        await connection.close()


async def test_migrated_database_equals_a_new_one_and_keeps_its_promises(
    upgraded: Upgraded,
) -> None:
    assert await _run(upgraded.url, _differences) == []
    removed = set(breaking_changes(upgraded.before, await catalogue(upgraded.connection)))
    assert removed - CONTRACTS == set(), "expand first, contract when the previous release does not use it"
    assert CONTRACTS - removed == set(), "contracts that removed nothing"


async def test_breaking_statement_is_detected(upgraded: Upgraded) -> None:
    for statement in BREAKS:
        assert await _removed_by(upgraded, statement), statement
    for statement in EXPANDS:
        assert not await _removed_by(upgraded, statement), statement


async def _removed_by(upgraded: Upgraded, statement: str) -> set[str]:
    transaction = upgraded.connection.transaction()
    await transaction.start()
    try:
        await upgraded.connection.execute(statement)
        return set(breaking_changes(upgraded.before, await catalogue(upgraded.connection))) - CONTRACTS
    finally:
        await transaction.rollback()


async def _run(url: str, function: Callable[[Sync], Result]) -> Result:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(function)
    finally:
        await engine.dispose()


def _differences(connection: Sync) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_downgrade_restores_the_previous_schema(upgraded: Upgraded) -> None:
    await _run(upgraded.url, lambda sync: command.downgrade(alembic_config(sync), PINNED["schema"]))
    after = await catalogue(upgraded.connection)
    assert (after.promises, after.limits) == (upgraded.before.promises, upgraded.before.limits)
