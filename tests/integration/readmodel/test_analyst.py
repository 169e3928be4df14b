"""The analyst reads what the README asks, and can do nothing else."""

import re
from pathlib import Path

import asyncpg
import pytest

from livebalance.stack.database import Database

README = Path(__file__).parents[3] / "README.md"


def queries() -> list[str]:
    block = re.search(r"```sql\n(.*?)```", README.read_text(), re.DOTALL)
    assert block
    return [query for query in block[1].split(";") if query.strip()]


async def test_the_queries_of_the_readme_run(database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    assert len(queries()) == 3
    for query in queries():
        await analyst.fetch(query)
    await analyst.close()


@pytest.mark.parametrize(
    "statement",
    [
        "select * from public.balance",
        "select * from public.quarantine",
        "set transaction read write; delete from reporting.balances",
        "set transaction read write; create table reporting.mine (a int)",
    ],
)
async def test_nothing_else_is_allowed(database: Database, statement: str) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await analyst.execute(statement)
    await analyst.close()
