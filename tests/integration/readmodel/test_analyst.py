"""An analyst can run the queries of the README, and nothing that is not allowed."""

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from livebalance.readmodel.migrate import migrate
from tests.servers.database import Database

README = Path(__file__).parents[3] / "README.md"


def queries() -> list[str]:
    block = re.search(r"```sql\n(.*?)```", README.read_text(), re.DOTALL)
    assert block
    return [query for query in block[1].split(";") if query.strip()]


async def test_queries_of_the_readme_run(database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    assert len(queries()) == 3
    for query in queries():
        await analyst.fetch(query)
    await analyst.close()


RELAXED = """
set default_transaction_read_only = off; set statement_timeout = 0; set transaction_timeout = 0;
set idle_in_transaction_session_timeout = 0; set work_mem = '1GB'
"""


FORBIDDEN = [
    # reading outside of the schema reporting
    "select * from public.balance",
    "select * from public.transfer",
    "select * from public.lane",
    "select * from public.projection",
    "select * from public.quarantine",
    "select * from public.revocation",
    "select * from public.truth",
    "select * from public.server_identity",
    "select * from public.alembic_version",
    "select * from pg_authid",
    "select pg_read_file('PG_VERSION')",
    "select pg_ls_dir('.')",
    "copy (select 1) to '/tmp/livebalance'",
    "copy (select 1) to program 'true'",
    # writing
    "update reporting.balances set balance = 0",
    "delete from reporting.balances",
    "update public.balance set balance = 0",
    "truncate public.transfer",
    "create table reporting.mine (a int)",
    "create table public.mine (a int)",
    "create schema mine",
    "create function reporting.mine() returns int language sql return 1",
    "create or replace view reporting.balances as select 1",
    "comment on view reporting.balances is 'mine'",
    "select lo_create(0)",
    "select lo_creat(-1)",
    "select lo_from_bytea(0, 'x')",
    "select lo_import('/etc/hostname')",
    "select pg_logical_emit_message(false, 'mine', 'mine')",
    "select pg_logical_emit_message(false, 'mine', 'mine'::bytea)",
    "select setval('public.quarantine_id_seq', 1)",
    "select nextval('public.quarantine_id_seq')",
    # locks that block writers
    "begin; lock table reporting.balances in share mode",
    "begin; lock table reporting.balances in access exclusive mode",
    "begin; lock table public.balance in access share mode",
    "select * from reporting.balances for update",
    "select * from reporting.balances for key share",
    # acting as another role, or changing privileges
    "set role projector",
    "set role owner",
    "set session authorization projector",
    "alter role analyst connection limit -1",
    "alter role analyst set temp_file_limit = -1",
    "set temp_file_limit = -1",
    "alter role analyst superuser",
    "alter role analyst createrole",
    "alter role analyst bypassrls",
    "grant pg_read_all_data to analyst",
    "create role mine",
    "alter system set fsync = off",
    "select pg_reload_conf()",
    "select pg_switch_wal()",
    "select pg_create_restore_point('mine')",
    "select pg_promote()",
]


async def test_analyst_may_do_nothing_else(database: Database) -> None:
    """The privileges forbid it, even if an analyst changes the settings that may be changed."""
    await assert_forbidden(database.url("analyst"), FORBIDDEN)


async def assert_forbidden(url: str, statements: Sequence[str]) -> None:
    for statement in statements:
        analyst = await asyncpg.connect(url)
        await analyst.execute(RELAXED)
        try:
            await analyst.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        finally:
            await analyst.close()
        pytest.fail(f"allowed: {statement}")


_PUBLIC_FUNCTIONS = """
select oid::regprocedure::text from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) of
 where pronamespace = 'reporting'::regnamespace and grantee = 0
"""


async def test_functions_may_be_executed_by_analysts_only(database: Database) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    assert await owner.fetch(_PUBLIC_FUNCTIONS) == []
    await owner.execute("create function reporting.one() returns int language sql return 1")
    assert len(await owner.fetch(_PUBLIC_FUNCTIONS)) == 1
    await owner.close()


# --- a user created as in docs/reporting.md


async def test_member_reads_with_its_own_limits(ana: str, database: Database) -> None:
    member, analyst = await asyncpg.connect(ana), await asyncpg.connect(database.url("analyst"))
    for query in queries():
        await member.fetch(query)
    limits = "select name, setting from pg_settings where source = 'user' order by name"
    given, own = [list(map(tuple, await user.fetch(limits))) for user in (analyst, member)]
    assert given == own
    assert len(own) == 9
    await analyst.close()
    others = [await asyncpg.connect(ana) for _ in range(2)]
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await asyncpg.connect(ana)
    for connection in (member, *others):
        await connection.close()


async def test_member_may_not_change_other_roles(ana: str) -> None:
    others = [
        "set role analyst",
        "alter role analyst set statement_timeout = 0",
        "grant analyst to projector",
    ]
    await assert_forbidden(ana, [*FORBIDDEN, *others, "alter role ana connection limit -1"])


async def test_transactions_of_an_analyst_are_read_only(database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await analyst.execute("create temporary table mine (a int)")
    await analyst.close()


async def test_analyst_cannot_end_statements_of_other_roles(database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    projector = await asyncpg.connect(database.url("projector"))
    pid = await projector.fetchval("select pg_backend_pid()")
    for function in ("pg_terminate_backend", "pg_cancel_backend"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await analyst.execute(f"select {function}({pid})")
    shown = await analyst.fetchval("select query from pg_stat_activity where pid = $1", pid)
    assert shown == "<insufficient privilege>"
    await projector.close()
    await analyst.close()


async def test_statement_timeout_cancels_a_statement(database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    await analyst.execute("set statement_timeout = '50ms'")  # shorter than the default, for the test
    with pytest.raises(asyncpg.QueryCanceledError):
        await analyst.execute("select count(*) from generate_series(1, 1000000000)")
    await analyst.close()


async def test_connections_are_limited(database: Database) -> None:
    async with AsyncExitStack() as stack:

        async def connect() -> None:
            connection = await asyncpg.connect(database.url("analyst"))
            stack.push_async_callback(connection.close)

        for _ in range(10):
            await connect()
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await connect()


async def test_migrated_database_forbids_temporary_tables(empty: str, database: Database) -> None:
    """A database copied from a template, as in other tests, does not inherit this."""
    await migrate(empty)
    analyst = await asyncpg.connect(database.address("analyst", empty.rpartition("/")[2]))
    await analyst.execute(RELAXED)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await analyst.execute("create temporary table mine (a int)")
    await analyst.close()
