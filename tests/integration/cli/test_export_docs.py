"""The commands and queries of docs/export.md give the results that it shows."""

import asyncio
import re
import sys
from pathlib import Path

import asyncpg
import duckdb
import pytest

from livebalance.stack.paths import PROJECT
from scripts.reporting_docs import table
from tests.integration.readmodel.sample_accounts import FILL
from tests.servers.database import Database

PAGE = (PROJECT / "docs" / "export.md").read_text()
COMMANDS = re.compile(r"```sh\n(.*?)```", re.DOTALL)
QUERIES = re.compile(r"```sql\n(.*?)```\n\n(\|.*?)\n(?:\n|$)", re.DOTALL)


@pytest.fixture
async def files(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the commands of the page write, in the directory of the test."""
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(FILL)
    await owner.close()
    (tmp_path / ".livebalance").mkdir()
    (tmp_path / ".livebalance" / "venv").symlink_to(sys.prefix)
    monkeypatch.chdir(tmp_path)
    [commands] = COMMANDS.findall(PAGE)
    environment = {"LIVEBALANCE_POSTGRES": database.url("analyst")}
    shell = await asyncio.create_subprocess_exec("/bin/sh", "-ec", commands, env=environment)
    assert await asyncio.wait_for(shell.wait(), 60) == 0


@pytest.mark.usefixtures("files")
async def test_duckdb_gives_the_results_on_the_page() -> None:
    queries = QUERIES.findall(PAGE)
    assert len(queries) == 3
    with duckdb.connect() as connection:
        for query, expected in queries:
            result = connection.execute(query)
            names = [column[0] for column in result.description or ()]
            assert table(names, result.fetchall()) == expected
