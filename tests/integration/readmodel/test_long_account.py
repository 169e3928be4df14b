"""Statements and balances as of a time read few rows, wherever the time lies in a long account."""

import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import json

from livebalance.readmodel import gateway_reads, statements
from livebalance.readmodel.connection import Connection
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis, as_datetime, format_rfc3339, millis
from tests.servers.database import Database

START = datetime(2026, 1, 1, tzinfo=UTC)
MANY = 20_000
FILL = """
insert into projection select true, '00000000000000a1', system_identifier, timeline, 1 from server_identity;
insert into transfer
select 'long', 2 * n, 't-' || n, 1, n, at, at, 'transfers', 0, n
  from generate_series(1, $many) n
 cross join lateral (select timestamptz '2026-01-01Z' + n * interval '1 min' as at) a;
insert into balance (account_id, revision, lane, opening, posted_total, transfer_count, recorded_at)
values ('long', 2 * $many + 1, 0, 0, $many, $many, now())
"""


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute(FILL.replace("$many", str(MANY)))
    await connection.execute("analyze")
    yield connection
    await connection.close()


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from plan_nodes(part)


async def transfers_read(connection: Connection, query: str) -> float:
    """Returns how many rows of `transfer` the executed plan of a query reads."""
    (row,) = await connection.fetch(f"explain (analyze, format json) {query}")
    nodes = plan_nodes(json.decode(row[0])[0]["Plan"])
    return float(
        sum(
            node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
            for node in nodes
            if node.get("Relation Name") == "transfer"
        )
    )


@pytest.mark.parametrize("part", [0.001, 0.5, 0.999])
async def test_edges_read_a_row_per_step_of_the_search(
    owner: Connection, database: Database, part: float
) -> None:
    since = format_rfc3339(millis(START + timedelta(minutes=int(MANY * part))))
    until = format_rfc3339(millis(START + timedelta(minutes=int(MANY * part) + 10)))
    gateway = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    analyst = await asyncpg.connect(database.url("analyst"))
    try:
        edges = (
            statements._EDGES.replace("$1", "'long'").replace("$2", f"'{since}'").replace("$3", f"'{until}'")
        )
        assert await transfers_read(gateway, edges) <= 40
        assert await transfers_read(analyst, f"select * from balance_as_of('long', '{since}')") <= 20
        statement = f"select * from statement('long', '{since}', '{until}')"
        assert len(await analyst.fetch(statement)) == 12
        assert await transfers_read(analyst, statement) <= 60
    finally:
        await gateway.close()
        await analyst.close()


@pytest.mark.parametrize("count", [0, 1, 40, 60])
async def test_edges_equal_the_last_transfer_before_a_time(
    owner: Connection, database: Database, count: int
) -> None:
    """Revisions have gaps, and transfers may share a time."""
    rng, at, revision = random.Random(count), 0, 0
    rows = []
    for number in range(count):
        revision, at = revision + rng.choice([1, 1, 2, 9]), at + rng.choice([0, 0, 1, 1000])
        rows.append((revision, f"t-{number}", number + 1, as_datetime(Millis(at))))
    await owner.executemany(
        "insert into transfer values ('gaps', $1, $2, 1, $3, $4, $4, 'transfers', 0, 0)", rows
    )
    await owner.execute(
        "insert into balance (account_id, revision, lane, opening, posted_total, transfer_count, recorded_at)"
        " values ('gaps', $1, 0, 0, 0, 0, now())",
        revision + rng.choice([0, 1, 7]) or 1,
    )
    gateway = await asyncpg.connect(database.url("gateway"))
    try:
        for moment in {0, *(at + step for _, _, _, time in rows for at in [millis(time)] for step in (0, 1))}:
            before = [row[0] for row in rows if millis(row[3]) < moment]
            edges = await statements.read_edges(gateway, AccountId("gaps"), Millis(moment), Millis(moment))
            query = "select revision from reporting.balance_as_of('gaps', $1)"
            expected = max(before, default=0)
            assert (edges.opening.revision, edges.closing.revision) == (expected, expected)
            assert await owner.fetchval(query, as_datetime(Millis(moment))) == expected
    finally:
        await gateway.close()
