"""The statements of dashboards and of runbooks are run, as the role that is said."""

from datetime import datetime

import asyncpg
import pytest

from deploy.observability.boards import BOARDS
from deploy.observability.boards.money import CONSERVED
from deploy.observability.boards.panel import Panel, Sql
from livebalance.readmodel.projector_writes import Connection
from tests.contract.runbook import Statement, statements
from tests.servers.database import Database

ASKED = [
    (panel, ask)
    for board in BOARDS
    for panel in board.panels()
    for ask in panel.queries
    if isinstance(ask, Sql)
]


def ever(ask: Sql) -> str:
    """As Grafana would send it, for all time."""
    return ask.statement.replace("$__timeFilter(hour)", "hour between '-infinity' and 'infinity'")


@pytest.mark.parametrize(("panel", "ask"), ASKED, ids=lambda one: getattr(one, "title", ""))
async def test_a_panel_is_answered(analyst: Connection, panel: Panel, ask: Sql) -> None:
    statement = await analyst.prepare(ever(ask))
    columns = {one.name: one.type.name for one in statement.get_attributes()}
    rows = await statement.fetch()
    if ask.over_time:
        assert next(iter(columns)) == "time"
        assert all(isinstance(row["time"], datetime) for row in rows)
    if panel.kind == "stat":
        assert len(rows) == len(columns) == 1
    if panel.kind == "table":
        assert "numeric" not in columns.values(), f"{columns}: Grafana would make floats of it"


async def test_money_that_is_missing_is_shown(analyst: Connection, database: Database) -> None:
    assert await analyst.fetchval(CONSERVED) == 0
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute("update balance set balance = balance + 0.01 where account_id = 'alice'")
    await owner.close()
    assert await analyst.fetchval(CONSERVED) == 1


@pytest.mark.parametrize("told", statements(), ids=lambda one: f"{one.page}-{one.role}")
async def test_a_statement_of_a_runbook_is_taken(
    analyst: Connection, database: Database, told: Statement
) -> None:
    connection = await asyncpg.connect(database.url(told.role))
    try:
        async with connection.transaction():
            await connection.execute(told.sql)
    finally:
        await connection.close()
