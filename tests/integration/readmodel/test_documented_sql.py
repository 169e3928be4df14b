"""SQL statements of dashboards and runbooks run as the role that they name."""

from datetime import datetime

import asyncpg
import pytest

from deploy.observability.boards import BOARDS
from deploy.observability.boards.money import CONSERVED
from deploy.observability.boards.panel import Panel, Sql
from livebalance.readmodel.connection import Connection
from tests.contract.runbook import Statement, statements
from tests.servers.database import Database

QUERIES = [
    (panel, query)
    for board in BOARDS
    for panel in board.panels()
    for query in panel.queries
    if isinstance(query, Sql)
]


def for_all_time(query: Sql) -> str:
    """The statement as Grafana sends it, without a limit of time."""
    return query.statement.replace("$__timeFilter(hour)", "hour between '-infinity' and 'infinity'")


@pytest.mark.parametrize(("panel", "query"), QUERIES, ids=lambda value: getattr(value, "title", ""))
async def test_query_of_a_panel_runs(analyst: Connection, panel: Panel, query: Sql) -> None:
    statement = await analyst.prepare(for_all_time(query))
    columns = {column.name: column.type.name for column in statement.get_attributes()}
    rows = await statement.fetch()
    if query.over_time:
        assert next(iter(columns)) == "time"
        assert all(isinstance(row["time"], datetime) for row in rows)
    if panel.kind == "stat":
        assert len(rows) == len(columns) == 1
    if panel.kind == "table":
        assert "numeric" not in columns.values(), f"{columns}: Grafana would make floats of it"


async def test_missing_money_is_shown(analyst: Connection, database: Database) -> None:
    assert await analyst.fetchval(CONSERVED) == 0
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute("update balance set balance = balance + 0.01 where account_id = 'alice'")
    await owner.close()
    assert await analyst.fetchval(CONSERVED) == 1


@pytest.mark.parametrize("statement", statements(), ids=lambda value: f"{value.page}-{value.role}")
async def test_statement_of_a_runbook_runs(
    analyst: Connection, database: Database, statement: Statement
) -> None:
    connection = await asyncpg.connect(database.url(statement.role))
    try:
        async with connection.transaction():
            await connection.execute(statement.sql)
    finally:
        await connection.close()
