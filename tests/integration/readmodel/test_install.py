"""What docs/kubernetes.md has an operator do in Postgres is enough, where the owner is no superuser."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from livebalance.readmodel.migrate import migrate
from livebalance.stack.paths import PROJECT, StatePaths
from livebalance.stack.servers.servers import Servers
from tests.integration.readmodel.ledger import FILL

EVENT = "analysts may write until a superuser forbids it"
OPEN = [
    "alter role analyst set temp_file_limit = '1GB'",
    "revoke execute on function lo_creat from public",
    "revoke execute on function lo_create from public",
    "revoke execute on function lo_from_bytea from public",
    *["revoke execute on function pg_logical_emit_message from public"] * 2,
]
RELAXED = "set default_transaction_read_only = off"
WRITING = [
    "select lo_create(0)",
    "select lo_creat(-1)",
    "select lo_from_bytea(0, 'x')",
    "select pg_logical_emit_message(false, 'mine', 'mine')",
    "select pg_logical_emit_message(false, 'mine', 'mine'::bytea)",
]


@pytest.fixture
def own(paths: StatePaths, tmp_path: Path) -> Iterator[Servers]:
    with Servers(
        StatePaths(paths.home, tmp_path / "own"), parts=["postgres"], durable=False, only_embedded=True
    ) as servers:
        yield servers


def said() -> list[str]:
    """The statements of the page. Here `owner` is taken, by who made the server."""
    page = (PROJECT / "docs" / "kubernetes.md").read_text()
    [block] = re.findall(r"^```sql\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    renamed = re.sub(r"\b(role|owner) owner\b", r"\1 keeper", block)
    return renamed.replace("database livebalance", "database installed").rstrip("; \n").split(";")


def closing() -> str:
    """What docs/operations.md has a superuser do in the database."""
    page = (PROJECT / "docs" / "operations.md").read_text()
    [block] = re.findall(r"^```sql\n(revoke temporary.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return str(block).replace("database livebalance", "database installed")


async def ask(address: str, *statements: str) -> None:
    connection = await asyncpg.connect(address)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def installed(own: Servers, *before: str) -> tuple[str, str]:
    """Addresses of the database for its owner and for a superuser, who does that in it before."""
    await ask(own.postgres("owner", "postgres"), *said())
    superuser = own.postgres("owner", "installed")
    await ask(superuser, *before)
    return own.postgres("keeper", "installed"), superuser


async def told(address: str) -> list[str]:
    """Which ways to write the migrations say are open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livebalance.readmodel"),
        env={"LIVEBALANCE_POSTGRES_OWNER": address},
        stderr=asyncio.subprocess.PIPE,
    )
    _, lines = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, lines.decode()
    found = [json.loads(line) for line in lines.splitlines()]
    warned = [one for one in found if one["level"] != "info"]
    assert {one["event"] for one in warned} <= {EVENT}
    return [one["by"] for one in warned]


async def test_what_an_owner_cannot_close_is_said_until_a_superuser_does(own: Servers) -> None:
    """Which no error tells: Postgres only warns who revokes what is not his."""
    keeper, superuser = await installed(own)
    for _ in range(2):  # a database that was migrated before says so too
        statements = await told(keeper)
        assert [re.sub(r"\(.*?\)", "", one) for one in statements] == OPEN
    for statement in WRITING:
        await ask(own.postgres("analyst", "installed"), RELAXED, statement)
    await ask(superuser, *statements)
    assert await told(keeper) == []
    for statement in WRITING:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(own.postgres("analyst", "installed"), RELAXED, statement)


async def test_the_page_closes_all_of_it(own: Servers) -> None:
    keeper, superuser = await installed(own)
    assert await migrate(keeper) != []
    await ask(superuser, closing())
    assert await migrate(keeper) == []


async def test_what_was_closed_before_does_not_stop_a_migration(own: Servers) -> None:
    """Then the owner has no right to it at all, and is refused."""
    keeper, _ = await installed(own, "create role analyst", closing(), "drop role analyst")
    assert await migrate(keeper) == ["alter role analyst set temp_file_limit = '1GB'"]


async def test_roles_as_the_page_makes_them_can_migrate_write_and_read(own: Servers) -> None:
    keeper, _ = await installed(own)
    await migrate(keeper)
    projector = await asyncpg.connect(own.postgres("projector", "installed"))
    await projector.execute(FILL)
    await projector.close()
    analyst = await asyncpg.connect(own.postgres("analyst", "installed"))
    assert await analyst.fetchval("select count(*) from balances") > 0
    await analyst.close()
    gateway = await asyncpg.connect(own.postgres("gateway", "installed"))
    assert await gateway.fetchval("select count(*) from balance") == 0  # of accounts that it has not named
    assert await gateway.fetchval("select count(*) from lane") > 0
    await gateway.close()
