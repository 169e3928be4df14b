"""The SQL in docs/kubernetes.md is sufficient for an owner that is not a superuser."""

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
from tests.integration.readmodel.sample_accounts import FILL

EVENT = "analyst privilege not revoked"
UNREVOKED = [
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


def statements_of_page() -> list[str]:
    """The SQL of the page, with another name for `owner`, which is a superuser on this server."""
    page = (PROJECT / "docs" / "kubernetes.md").read_text()
    [block] = re.findall(r"^```sql\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    renamed = re.sub(r"\b(role|owner) owner\b", r"\1 keeper", block)
    return renamed.replace("database livebalance", "database installed").rstrip("; \n").split(";")


def superuser_sql() -> str:
    """The SQL in docs/operations.md that a superuser runs in the database."""
    page = (PROJECT / "docs" / "operations.md").read_text()
    [block] = re.findall(r"^```sql\n(revoke temporary.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return str(block).replace("database livebalance", "database installed")


async def execute(address: str, *statements: str) -> None:
    connection = await asyncpg.connect(address)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def installed(own: Servers, *before: str) -> tuple[str, str]:
    """Creates the database and returns its URLs for its owner and for a superuser.

    The superuser runs the statements `before` in it.
    """
    await execute(own.postgres("owner", "postgres"), *statements_of_page())
    superuser = own.postgres("owner", "installed")
    await execute(superuser, *before)
    return own.postgres("keeper", "installed"), superuser


async def unrevoked(address: str) -> list[str]:
    """Migrates the database and returns the statements that the migrations log for a superuser."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livebalance.readmodel"),
        env={"LIVEBALANCE_POSTGRES_OWNER": address},
        stderr=asyncio.subprocess.PIPE,
    )
    _, lines = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, lines.decode()
    events = [json.loads(line) for line in lines.splitlines()]
    warnings = [event for event in events if event["level"] != "info"]
    assert {event["event"] for event in warnings} <= {EVENT}
    return [event["statement"] for event in warnings]


async def test_unrevoked_privileges_are_logged_until_a_superuser_revokes_them(own: Servers) -> None:
    """Postgres raises no error if a role revokes a privilege that it may not revoke, but only warns."""
    keeper, superuser = await installed(own)
    for _ in range(2):  # also when there is nothing to migrate
        statements = await unrevoked(keeper)
        assert [re.sub(r"\(.*?\)", "", statement) for statement in statements] == UNREVOKED
    for statement in WRITING:
        await execute(own.postgres("analyst", "installed"), RELAXED, statement)
    await execute(superuser, *statements)
    assert await unrevoked(keeper) == []
    for statement in WRITING:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(own.postgres("analyst", "installed"), RELAXED, statement)


async def test_sql_of_the_operations_page_revokes_everything(own: Servers) -> None:
    keeper, superuser = await installed(own)
    assert await migrate(keeper) != []
    await execute(superuser, superuser_sql())
    assert await migrate(keeper) == []


async def test_privileges_revoked_before_do_not_stop_the_migration(own: Servers) -> None:
    """Postgres refuses a revoke of the owner if the owner has no privilege on the function at all."""
    keeper, _ = await installed(own, "create role analyst", superuser_sql(), "drop role analyst")
    assert await migrate(keeper) == ["alter role analyst set temp_file_limit = '1GB'"]


async def test_roles_of_the_page_can_migrate_write_and_read(own: Servers) -> None:
    keeper, _ = await installed(own)
    await migrate(keeper)
    projector = await asyncpg.connect(own.postgres("projector", "installed"))
    await projector.execute(FILL)
    await projector.close()
    analyst = await asyncpg.connect(own.postgres("analyst", "installed"))
    assert await analyst.fetchval("select count(*) from balances") > 0
    await analyst.close()
    gateway = await asyncpg.connect(own.postgres("gateway", "installed"))
    assert await gateway.fetchval("select count(*) from balance") == 0  # the statement names no account
    assert await gateway.fetchval("select count(*) from lane") > 0
    await gateway.close()
