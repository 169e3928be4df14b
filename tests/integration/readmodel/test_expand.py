"""Migrations expand first and contract later: on the new schema the release before does all it did.

What may go is listed in tests/previous.toml, with the reason: no release that may still run uses it.
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

from livebalance.readmodel.migrate import alembic_config, migrate
from livebalance.readmodel.projector_writes import Connection
from livebalance.readmodel.tables import metadata
from tests.integration.readmodel.catalogue import Catalogue, catalogue, narrowed
from tests.integration.readmodel.ledger import FILL
from tests.previous import PINNED, Previous

Result = TypeVar("Result")
CONTRACTS = {one["what"] for one in PINNED["contracts"]}
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
    """A database that the release before has made and filled, and today's migrations have changed."""
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


async def test_an_old_database_is_as_a_new_one_and_nothing_is_taken_from_the_release_before(
    upgraded: Upgraded,
) -> None:
    assert await _done(upgraded.url, _differences) == []
    found = narrowed(upgraded.before, await catalogue(upgraded.connection))
    assert set(found) - CONTRACTS == set(), "expand first: contract when no release that may run uses it"
    assert CONTRACTS - set(found) == set(), "contracts that took nothing away"


async def test_what_takes_something_away_is_found(upgraded: Upgraded) -> None:
    for statement in BREAKS:
        assert await _after(upgraded, statement), statement
    for statement in EXPANDS:
        assert not await _after(upgraded, statement), statement


async def _after(upgraded: Upgraded, statement: str) -> set[str]:
    changing = upgraded.connection.transaction()
    await changing.start()
    try:
        await upgraded.connection.execute(statement)
        return set(narrowed(upgraded.before, await catalogue(upgraded.connection))) - CONTRACTS
    finally:
        await changing.rollback()


async def _done(url: str, what: Callable[[Sync], Result]) -> Result:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(what)
    finally:
        await engine.dispose()


def _differences(connection: Sync) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_the_way_down_leaves_what_was_there(upgraded: Upgraded) -> None:
    await _done(upgraded.url, lambda sync: command.downgrade(alembic_config(sync), PINNED["schema"]))
    after = await catalogue(upgraded.connection)
    assert (after.promises, after.limits) == (upgraded.before.promises, upgraded.before.limits)
