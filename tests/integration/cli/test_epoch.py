"""`livebalance epoch bump` as an operator types it, on a real Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel import projector_writes
from livebalance.readmodel.operator_actions import bump_epoch
from livebalance.readmodel.rows import ServerIdentity, lanes_from_start
from livebalance.wire.identity import Epoch
from tests.integration.cli.operator import Said, said
from tests.servers.database import Database

OLD = Epoch("00000000000000a1")


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[projector_writes.Connection]:
    connection = await asyncpg.connect(database.url("owner"))
    yield connection
    await connection.close()


@pytest.fixture
async def projected(owner: projector_writes.Connection) -> projector_writes.Connection:
    """Something was projected into the database, on another server."""
    await projector_writes.create_projection(owner, OLD, ServerIdentity("1", "00000001"), lanes_from_start(3))
    await owner.execute("update lane set as_of = now()")
    return owner


async def bumped(database: Database, *words: str) -> Said:
    return await said({"LIVEBALANCE_POSTGRES": database.url("operator")}, "epoch", "bump", *words)


async def test_another_epoch_begins_in_all_lanes(
    database: Database, projected: projector_writes.Connection
) -> None:
    done = await bumped(database, "--json", "--why", "restored last night's")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert told["was"] == OLD
    assert told["now"] not in (OLD, "")
    assert await projector_writes.read_projection(projected) == (told["now"], True, 3)
    lanes = await projected.fetch("select distinct epoch, as_of from lane")
    assert [tuple(one) for one in lanes] == [(told["now"], None)]
    [note] = await projected.fetch("select what, lane, was, became, by, why from intervention")
    assert tuple(note) == ("epoch", None, OLD, told["now"], "operator", "restored last night's")


async def test_it_says_so_in_one_line(database: Database, projected: projector_writes.Connection) -> None:
    done = await bumped(database)
    now = await projected.fetchval("select epoch from projection")
    assert done.out == f"The epoch was {OLD} and is {now} now: every client will get a snapshot.\n"


async def test_of_two_who_end_one_epoch_one_has_done_it(
    database: Database, projected: projector_writes.Connection
) -> None:
    both = [await asyncpg.connect(database.url("operator")) for _ in range(2)]
    done = await asyncio.gather(*(bump_epoch(one, OLD, "twice") for one in both))
    assert [one for one in done if one] == [await projected.fetchval("select epoch from projection")]
    assert await projected.fetchval("select count(*) from intervention") == 1
    await asyncio.gather(*(one.close() for one in both))


@pytest.mark.parametrize("url", ["", "postgresql://operator@127.0.0.1:1/x"])
async def test_what_fails_is_one_line(database: Database, url: str) -> None:
    done = await said({"LIVEBALANCE_POSTGRES": url or database.url("operator")}, "epoch", "bump")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("livebalance: the epoch was not changed: ")
    assert done.err.count("\n") == 1
