"""The statements read only as many transfers as they return, however many an account has."""

from collections.abc import Iterator
from typing import Any

import asyncpg
from msgspec import json
from msgspec.structs import replace

from livebalance.readmodel import gateway_reads
from livebalance.readmodel.connection import Connection
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.integration.gateway.fake_projector import FakeProjector
from tests.servers.database import Database

MANY = 5000


async def write_hot_account(projector: FakeProjector) -> None:
    """Writes an account with many transfers and a hundred with few, which misleads the planner most."""
    await projector.open("hot", *(f"cold-{number}" for number in range(100)))
    await projector.execute(
        "insert into transfer select 'hot', n, 't-' || n, 1.5, n * 1.5, now(), now(), 'transfers', 0, n"
        " from generate_series(2, $1::int) n",
        MANY,
    )
    await projector.execute(
        "insert into transfer select 'cold-' || a, n, 't-' || n, 1.5, 1.5, now(), now(), 'transfers', 0, n"
        " from generate_series(0, 99) a, generate_series(2, 40) n"
    )
    await projector.execute("update balance set revision = $1 where account_id = 'hot'", MANY)


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from plan_nodes(part)


async def max_rows(connection: Connection, after: Position | None) -> float:
    """Returns the most rows that a node of the executed plan read from `transfer`."""
    statement = gateway_reads._ACCOUNTS  # this statement, not its result, is tested
    epoch, revision = (f"'{after.epoch}'", after.revision) if after else ("null", "null")
    await connection.execute("deallocate all")
    await connection.execute(f"prepare s (text[], text[], int8[], int8, int8) as {statement}")
    arguments = f"array['hot'], array[{epoch}]::text[], array[{revision}]::int8[], 10000, 200"
    (row,) = await connection.fetch(f"explain (analyze, format json) execute s({arguments})")
    plan = json.decode(row[0])[0]["Plan"]
    scans = [node for node in plan_nodes(plan) if node.get("Relation Name") == "transfer"]
    assert scans, plan
    return max(float(node["Actual Rows"]) for node in scans)


async def test_snapshot_and_resume_read_no_more_rows_than_they_return(
    projector: FakeProjector, database: Database
) -> None:
    await write_hot_account(projector)
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute("analyze")
    await owner.close()
    connection = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    near = Position(Epoch(projector.epoch), Revision(MANY - 20))
    try:
        assert await max_rows(connection, None) <= gateway_reads.SNAPSHOT_TRANSFERS + 1
        assert await max_rows(connection, near) <= 20
        assert await max_rows(connection, replace(near, revision=Revision(10))) <= 201
    finally:
        await connection.close()


async def test_snapshot_is_planned_once_per_connection(projector: FakeProjector, database: Database) -> None:
    """Planning takes longer than running, and Postgres would plan again if its estimate favoured that."""
    await write_hot_account(projector)
    connection = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    query = gateway_reads.AccountQuery(AccountId("hot"), None)
    try:
        for _ in range(3):
            await gateway_reads.read_accounts(connection, [query], 10_000, 200)
        plans = await connection.fetchrow(
            "select generic_plans, custom_plans from pg_prepared_statements where statement = $1",
            gateway_reads._ACCOUNTS,  # this statement, not its result, is tested
        )
    finally:
        await connection.close()
    assert plans
    assert tuple(plans) == (3, 0)
