"""`livebalance epoch bump`, with a real Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.operator.projection_actions import bump_epoch
from livebalance.readmodel.projection import epoch
from livebalance.readmodel.rows import ServerIdentity, lanes_from_start
from livebalance.wire.identity import Epoch
from tests.integration.cli.command_line import CommandResult, run_command
from tests.servers.database import Database

OLD = Epoch("00000000000000a1")


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.url("owner"))
    yield connection
    await connection.close()


@pytest.fixture
async def projection(owner: Connection) -> Connection:
    """The database has a projection, which was made on another server."""
    await epoch.create_projection(owner, OLD, ServerIdentity("1", "00000001"), lanes_from_start(3))
    await owner.execute("update lane set as_of = now()")
    return owner


async def bump(database: Database, *words: str) -> CommandResult:
    return await run_command({"LIVEBALANCE_POSTGRES": database.url("operator")}, "epoch", "bump", *words)


async def test_bump_begins_a_new_epoch_in_all_lanes(database: Database, projection: Connection) -> None:
    result = await bump(database, "--json", "--reason", "restored last night's")
    assert (result.code, result.err) == (0, "")
    change = json.loads(result.out)
    assert change["old"] == OLD
    assert change["new"] not in (OLD, "")
    assert await epoch.read_projection(projection) == (change["new"], True, 3)
    lanes = await projection.fetch("select distinct epoch, as_of from lane")
    assert [tuple(lane) for lane in lanes] == [(change["new"], None)]
    [row] = await projection.fetch("select what, lane, was, became, by, why from intervention")
    assert tuple(row) == ("epoch", None, OLD, change["new"], "operator", "restored last night's")


async def test_bump_prints_both_epochs(database: Database, projection: Connection) -> None:
    result = await bump(database)
    epoch = await projection.fetchval("select epoch from projection")
    assert result.out == f"The epoch was {OLD} and is {epoch} now: every client will get a snapshot.\n"


async def test_concurrent_bumps_change_the_epoch_once(database: Database, projection: Connection) -> None:
    both = [await asyncpg.connect(database.url("operator")) for _ in range(2)]
    epochs = await asyncio.gather(*(bump_epoch(connection, OLD, "twice") for connection in both))
    assert [epoch for epoch in epochs if epoch] == [await projection.fetchval("select epoch from projection")]
    assert await projection.fetchval("select count(*) from intervention") == 1
    await asyncio.gather(*(connection.close() for connection in both))


@pytest.mark.parametrize("url", ["", "postgresql://operator@127.0.0.1:1/x"])
async def test_failed_bump_gives_one_error_line(database: Database, url: str) -> None:
    result = await run_command({"LIVEBALANCE_POSTGRES": url or database.url("operator")}, "epoch", "bump")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("livebalance: the epoch was not changed: ")
    assert result.err.count("\n") == 1
