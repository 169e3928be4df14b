"""The analyst reads what the README asks, and can do nothing else."""

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


async def test_the_queries_of_the_readme_run(database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    assert len(queries()) == 3
    for query in queries():
        await analyst.fetch(query)
    await analyst.close()


RELAXED = """
set default_transaction_read_only = off; set statement_timeout = 0; set transaction_timeout = 0;
set idle_in_transaction_session_timeout = 0; set work_mem = '1GB'
"""


REFUSED = [
    # what is not of the schema reporting
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
    # writing, in every way there is
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
    # locks that a writer would wait for
    "begin; lock table reporting.balances in share mode",
    "begin; lock table reporting.balances in access exclusive mode",
    "begin; lock table public.balance in access share mode",
    "select * from reporting.balances for update",
    "select * from reporting.balances for key share",
    # being somebody else, or more
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


async def test_nothing_else_is_allowed(database: Database) -> None:
    """Rights, not settings: whoever sets away what he can is refused all the same."""
    await refused(database.url("analyst"), REFUSED)


async def refused(url: str, statements: Sequence[str]) -> None:
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


_OF_EVERYONE = """
select oid::regprocedure::text from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) of
 where pronamespace = 'reporting'::regnamespace and grantee = 0
"""


async def test_functions_are_for_analysts_alone(database: Database) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    assert await owner.fetch(_OF_EVERYONE) == []
    await owner.execute("create function reporting.one() returns int language sql return 1")
    assert len(await owner.fetch(_OF_EVERYONE)) == 1
    await owner.close()


# --- a user of his own, as docs/reporting.md makes one


async def test_a_member_reads_with_the_limits_he_was_given(ana: str, database: Database) -> None:
    member, analyst = await asyncpg.connect(ana), await asyncpg.connect(database.url("analyst"))
    for query in queries():
        await member.fetch(query)
    limits = "select name, setting from pg_settings where source = 'user' order by name"
    given, own = [list(map(tuple, await one.fetch(limits))) for one in (analyst, member)]
    assert given == own
    assert len(own) == 9
    await analyst.close()
    others = [await asyncpg.connect(ana) for _ in range(2)]
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await asyncpg.connect(ana)
    for one in (member, *others):
        await one.close()


async def test_a_member_may_do_no_more_and_set_nothing_for_others(ana: str) -> None:
    others = [
        "set role analyst",
        "alter role analyst set statement_timeout = 0",
        "grant analyst to projector",
    ]
    await refused(ana, [*REFUSED, *others, "alter role ana connection limit -1"])


async def test_writing_is_refused_before_rights_are_asked(database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await analyst.execute("create temporary table mine (a int)")
    await analyst.close()


async def test_nobody_elses_statement_can_be_ended(database: Database) -> None:
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


async def test_a_statement_has_its_time(database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"))
    await analyst.execute("set statement_timeout = '50ms'")  # a shorter one: the mechanism is the same
    with pytest.raises(asyncpg.QueryCanceledError):
        await analyst.execute("select count(*) from generate_series(1, 1000000000)")
    await analyst.close()


async def test_connections_have_an_end(database: Database) -> None:
    async with AsyncExitStack() as stack:

        async def connect() -> None:
            connection = await asyncpg.connect(database.url("analyst"))
            stack.push_async_callback(connection.close)

        for _ in range(10):
            await connect()
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await connect()


async def test_no_temporary_tables_in_a_database_that_was_migrated(empty: str, database: Database) -> None:
    """A copy, as other tests have one, does not inherit this."""
    await migrate(empty)
    analyst = await asyncpg.connect(database.address("analyst", empty.rpartition("/")[2]))
    await analyst.execute(RELAXED)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await analyst.execute("create temporary table mine (a int)")
    await analyst.close()
