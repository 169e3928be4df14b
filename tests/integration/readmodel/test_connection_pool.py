"""With the pool of docs/reporting.md, analysts take turns."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from livebalance.stack.servers.postgres import _BIN
from livebalance.stack.servers.servers import Servers
from tests.servers.database import Database
from tests.servers.pgbouncer import PgBouncer

SLOW = "select count(*) from generate_series(1, 300000)"
NUMBER = 10
_ACTIVE = """
select usename, query from pg_stat_activity
 where usename in ('analyst', 'ana') and datname = current_database() and state = 'active'
"""


@pytest.fixture
def pool(postgres_server: Servers, tmp_path: Path) -> Iterator[PgBouncer]:
    if "postgres" not in postgres_server.embedded:
        pytest.skip("left out: the server does not trust every user")
    pool = PgBouncer(tmp_path, postgres_server.postgres("owner", "").rstrip("/"), "analyst", "ana")
    pool.start()
    yield pool
    pool.stop()


async def psql(address: str, *arguments: str) -> str:
    """Returns the output of psql, one value per line."""
    command = [f"{_BIN}/psql", address, "-qAtX", "-v", "ON_ERROR_STOP=1", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_ten_analysts_run_one_statement_at_a_time(
    pool: PgBouncer, ana: str, database: Database
) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    addresses = [f"{pool.url(user)}/{database.name}" for user in ("analyst", "ana") * (NUMBER // 2)]
    queries = asyncio.gather(*(psql(address, *["-c", SLOW] * 3) for address in addresses))
    seen: set[str] = set()
    while not queries.done():
        active = await owner.fetch(_ACTIVE)
        assert len(active) <= 1, active
        seen |= {row["usename"] for row in active}
    assert await queries == ["300000\n" * 3] * NUMBER
    assert seen == {"analyst", "ana"}
    await owner.close()


async def test_limits_and_snapshots_work_through_the_pool(
    pool: PgBouncer, ana: str, database: Database
) -> None:
    output = await psql(
        f"{pool.url('ana')}/{database.name}",
        *("-c", "begin", "-c", "select count(*) from balances", "-c", "select current_user"),
        *("-c", "show transaction_isolation", "-c", "show transaction_read_only", "-c", "commit"),
        *("-c", "show statement_timeout"),
    )
    assert output.split("\n") == ["0", "ana", "repeatable read", "on", "30s", ""]
