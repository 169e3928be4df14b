"""Each view and function of `reporting` returns what the tables contain, as its comment describes."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from livebalance.readmodel import statements
from livebalance.readmodel.connection import Connection
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import millis
from scripts.reporting_docs import page, table
from tests.servers.database import Database

PAGE = Path(__file__).parents[3] / "docs" / "reporting.md"
QUESTIONS = re.compile(r"```sql\n(.*?)```\n\n(\|.*?)\n\n", re.DOTALL)

# Views and functions of migration 0005. A view may only get more columns at its end; functions stay.
VIEWS = {
    "accounts": "account_id text, client_id text, currency text, lane integer, state text, revision bigint,"
    " opening numeric, transfer_count bigint, recorded_at timestamptz, last_transfer_at timestamptz",
    "balances": "account_id text, balance numeric, currency text, revision bigint, version bigint,"
    " transfer_id text, client_id text, opening numeric, posted_total numeric, transfer_count bigint,"
    " half_applied numeric, drift numeric, disputed_since timestamptz, disputed_why text,"
    " recorded_at timestamptz, lane integer, unverified_since timestamptz, transfers_offset bigint,"
    " balances_offset bigint",
    "daily_flows": "day date, transfers bigint, credits numeric, debits numeric, net numeric",
    "dormant_accounts": "account_id text, client_id text, currency text, revision bigint,"
    " transfer_count bigint, last_transfer_at timestamptz, idle interval",
    "freshness": "lane integer, transfers_next bigint, balances_next bigint, last_event_at timestamptz,"
    " as_of timestamptz, age interval, halted_why text, epoch text, known boolean",
    "hourly_volume": "hour timestamptz, transfers bigint, volume numeric",
    "quarantine_summary": "topic text, partition integer, reason text, state text, records bigint,"
    " first_offset bigint, last_offset bigint, first_kafka_time timestamptz, last_kafka_time timestamptz,"
    " rejected_by text",
    "reconciliation": "account_id text, revision bigint, balance numeric, opening numeric,"
    " posted_total numeric, half_applied numeric, drift numeric, disputed_since timestamptz,"
    " disputed_why text, lane integer, transfers_offset bigint, balances_offset bigint",
    "transfers": "account_id text, revision bigint, transfer_id text, amount numeric, total numeric,"
    " balance_after numeric, occurred_at timestamptz, recorded_at timestamptz, topic text,"
    " partition integer, source_offset bigint",
}
_HELD = "TABLE(account_id text, revision bigint, balance numeric, total numeric, recorded_at timestamptz)"
FUNCTIONS = {
    "balance_as_of(account text, moment timestamptz)": _HELD,
    "balance_at(account text, at_revision bigint)": _HELD,
    "statement(account text, since timestamptz DEFAULT '-infinity',"
    " until timestamptz DEFAULT 'infinity')": "TABLE(line text, revision bigint, transfer_id text,"
    " amount numeric, total numeric, balance numeric, occurred_at timestamptz, recorded_at timestamptz,"
    " topic text, partition integer, source_offset bigint)",
    "top_movers(day date, places bigint DEFAULT 10)": "TABLE(place bigint, account_id text,"
    " transfers bigint, credits numeric, debits numeric, net numeric, volume numeric, revision bigint)",
}


# Accounts without a balance.
BARE = """
insert into balance (account_id, revision, lane, posted_total, transfer_count, recorded_at)
values ('erased', 9, 0, 0, 0, now()), ('waiting', 1, 0, 5, 1, now());
insert into transfer
values ('waiting', 1, 't-1', 5, 5, '2026-01-30 09:00Z', '2026-01-30 09:00Z', 'transfers', 0, 7)
"""


def february(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 2, day, hour, tzinfo=UTC)


@pytest.fixture
async def projector(analyst: Connection, database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.url("projector"))
    yield connection
    await connection.close()


def shortened(types: str) -> str:
    return types.replace("::timestamp with time zone", "").replace("timestamp with time zone", "timestamptz")


async def test_views_keep_their_columns(analyst: Connection) -> None:
    columns = (
        "select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)"
        " from pg_attribute where attrelid = $1::text::regclass and attnum > 0"
    )
    for view, expected in VIEWS.items():
        actual = await analyst.fetchval(columns, f"reporting.{view}")
        assert f"{shortened(actual)},".startswith(f"{expected},"), view


async def test_functions_keep_their_signatures(analyst: Connection) -> None:
    rows = await analyst.fetch(
        "select format('%s(%s)', proname, pg_get_function_arguments(oid)), pg_get_function_result(oid)"
        " from pg_proc where pronamespace = 'reporting'::regnamespace"
    )
    assert {shortened(call): shortened(result) for call, result in rows}.items() >= FUNCTIONS.items()


async def test_amounts_are_numeric_and_times_have_a_time_zone(analyst: Connection) -> None:
    wrong = (
        "select attrelid::regclass, attname from pg_attribute where attrelid in (select oid from pg_class"
        " where relnamespace = 'reporting'::regnamespace) and atttypid in"
        " ('timestamp'::regtype, 'float8'::regtype, 'float4'::regtype, 'money'::regtype)"
    )
    assert await analyst.fetch(wrong) == []


async def test_page_matches_the_comments_of_the_database(analyst: Connection) -> None:
    text = await page(analyst)
    assert PAGE.read_text() == text, "python -m scripts.reporting_docs > docs/reporting.md"


async def test_examples_of_the_page_return_the_rows_that_it_shows(analyst: Connection) -> None:
    questions = QUESTIONS.findall(PAGE.read_text())
    assert len(questions) == 5
    for query, answer in questions:
        rows = await analyst.fetch(query)
        assert table(rows[0].keys(), [tuple(row) for row in rows]) == answer


_UNCOMMENTED = """
select c.oid::regclass::text as name from pg_class c
 where c.relnamespace in ('public'::regnamespace, 'reporting'::regnamespace)
   and c.relkind in ('r', 'v', 'm', 'p')
   and obj_description(c.oid, 'pg_class') is null
 union all
select format('%s.%s', c.oid::regclass, a.attname) from pg_class c join pg_attribute a on a.attrelid = c.oid
 where c.relnamespace in ('public'::regnamespace, 'reporting'::regnamespace)
   and c.relkind in ('r', 'v', 'm', 'p')
   and a.attnum > 0 and not a.attisdropped and col_description(c.oid, a.attnum) is null
 union all
select oid::regprocedure::text from pg_proc
 where pronamespace in ('public'::regnamespace, 'reporting'::regnamespace)
   and obj_description(oid, 'pg_proc') is null
 order by name
"""


async def test_everything_has_a_comment(database: Database) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    try:
        assert await owner.fetch(_UNCOMMENTED) == []
        await owner.execute("create view reporting.bare as select 1 as one; create table naked (two int)")
        await owner.execute("create function three() returns int language sql return 3")
        uncommented = [row["name"] for row in await owner.fetch(_UNCOMMENTED)]
        assert uncommented == ["naked", "naked.two", "reporting.bare", "reporting.bare.one", "three()"]
    finally:
        await owner.close()


# --- statements


async def test_statement_has_opening_transfers_and_closing(analyst: Connection) -> None:
    for since, until, revisions in [
        ("-infinity", "infinity", [0, 2, 4, 6, 8, 8]),
        ("-infinity", "2026-02-01Z", [0, 2, 4, 4]),
        ("2026-02-01Z", "2026-02-01Z", [4, 4]),
        ("2026-02-01Z", "2026-02-02Z", [4, 6, 8, 8]),
        ("2026-02-02Z", "infinity", [8, 8]),
    ]:
        query = "select * from statement('bob', $1::text::timestamptz, $2::text::timestamptz)"
        opening, *lines, closing = await analyst.fetch(query, since, until)
        assert [row["revision"] for row in (opening, *lines, closing)] == revisions
        assert (opening["line"], closing["line"]) == ("opening", "closing")
        assert {row["line"] for row in lines} <= {"transfer"}
        assert opening["balance"] + sum(row["amount"] for row in lines) == closing["balance"]
        assert (opening["amount"], closing["amount"], closing["topic"]) == (None, None, None)


async def test_line_names_its_source_record(analyst: Connection) -> None:
    line = (await analyst.fetch("select * from statement('bob')"))[4]
    assert (line["transfer_id"], line["topic"], line["partition"], line["source_offset"]) == (
        "t-4",
        "transfers",
        0,
        6,
    )
    assert (line["amount"], line["total"]) == (Decimal("5.00"), Decimal("22.75"))


async def test_statement_without_account_or_period_is_empty(analyst: Connection) -> None:
    assert await analyst.fetch("select * from statement('nobody')") == []
    assert await analyst.fetch("select * from statement('bob', '2026-02-02Z', '2026-02-01Z')") == []
    assert await analyst.fetch("select * from statement('bob', null)") == []
    assert await analyst.fetch("select * from statement('bob', until => null)") == []


@pytest.mark.parametrize("function", ["balance_at", "balance_as_of"])
async def test_balance_at_null_is_empty(analyst: Connection, function: str) -> None:
    assert await analyst.fetch(f"select * from {function}('alice', null)") == []
    assert await analyst.fetch(f"select * from {function}('alice', $1)", None) == []


async def test_functions_are_inlined_into_the_query(analyst: Connection) -> None:
    """Postgres can then use indexes for a report over many accounts."""
    for function in ("balance_at(a.account_id, 3)", "balance_as_of(a.account_id, '2026-02-01Z')"):
        plan = await analyst.fetch(f"explain select * from accounts a cross join lateral {function} b")
        assert [line[0] for line in plan if "Function Scan" in line[0]] == []


PERIODS = [
    (None, None),
    (None, february(1) - timedelta(milliseconds=1)),
    (datetime(2026, 1, 30, 9, tzinfo=UTC), february(1)),
    (february(1), february(1)),
    (february(1), None),
    (february(2), None),
]


@pytest.mark.parametrize("period", PERIODS)
async def test_statements_of_sql_and_rest_have_the_same_edges(
    analyst: Connection,
    projector: Connection,
    database: Database,
    period: tuple[datetime | None, datetime | None],
) -> None:
    await projector.execute(BARE)
    gateway = await asyncpg.connect(database.url("gateway"))
    times = [None if time is None else millis(time) for time in period]
    query = (
        "select * from statement($1, coalesce($2::timestamptz, '-infinity'),"
        " coalesce($3::timestamptz, 'infinity'))"
    )
    for account in ("alice", "bob", "erased", "waiting"):
        edges = await statements.read_edges(gateway, AccountId(account), *times)
        opening, *_, closing = await analyst.fetch(query, account, *period)
        for row, edge in ((opening, edges.opening), (closing, edges.closing)):
            assert (row["revision"], row["total"]) == (edge.revision, Decimal(edge.total)), account
            assert row["balance"] == (None if edge.balance is None else Decimal(edge.balance)), account
    await gateway.close()


@pytest.mark.parametrize(
    ("moment", "revision", "held"),
    [
        ("2025-01-01Z", 0, "100.00"),
        ("2026-01-30 09:00Z", 0, "100.00"),
        ("2026-01-30 09:00:00.001Z", 2, "70.00"),
        ("2026-02-01Z", 4, "82.50"),
        ("infinity", 6, "82.25"),
    ],
)
async def test_balance_as_of_a_time_excludes_that_time(
    analyst: Connection, moment: str, revision: int, held: str
) -> None:
    query = "select * from balance_as_of('alice', $1::text::timestamptz)"
    (row,) = await analyst.fetch(query, moment)
    assert (row["revision"], row["balance"]) == (revision, Decimal(held))


@pytest.mark.parametrize(
    ("at", "held"),
    [(0, "0.00"), (1, "0.00"), (2, "30.00"), (5, "17.50"), (7, "17.75"), (8, "22.75"), (9, None), (-1, None)],
)
async def test_balance_at_a_revision(analyst: Connection, at: int, held: str | None) -> None:
    rows = await analyst.fetch("select balance from balance_at('bob', $1)", at)
    assert [row["balance"] for row in rows] == ([] if held is None else [Decimal(held)])


async def test_half_applied_is_the_difference_between_transfers_and_balance(analyst: Connection) -> None:
    """The balance computed from transfers is the balance of the row plus half_applied."""
    rows = await analyst.fetch(
        "select b.balance, b.half_applied, held.balance as held from balances b"
        " cross join lateral balance_at(b.account_id, b.revision) held order by b.account_id"
    )
    assert [row["half_applied"] for row in rows] == [0, 5]
    assert all(row["held"] == row["balance"] + row["half_applied"] for row in rows)


# --- the rest


async def test_accounts_show_their_state(analyst: Connection, projector: Connection) -> None:
    await projector.execute(BARE)
    rows = await analyst.fetch("select account_id, state, last_transfer_at from accounts order by 1")
    assert [tuple(row) for row in rows] == [
        ("alice", "open", february(1)),
        ("bob", "open", february(1, 10)),
        ("erased", "erased", None),
        ("waiting", "waiting", datetime(2026, 1, 30, 9, tzinfo=UTC)),
    ]
    assert await analyst.fetch("select * from statement('waiting') where balance is not null") == []


async def test_days_and_hours_are_in_utc(analyst: Connection) -> None:
    await analyst.execute("set timezone = 'Asia/Tokyo'")
    days = await analyst.fetch("select * from daily_flows order by day")
    assert [(row["day"], row["transfers"], row["net"]) for row in days] == [
        (date(2026, 1, 30), 2, 0),
        (date(2026, 1, 31), 2, 0),
        (date(2026, 2, 1), 3, 5),
    ]
    assert (days[2]["credits"], days[2]["debits"]) == (Decimal("5.25"), Decimal("-0.25"))
    hours = await analyst.fetch("select * from hourly_volume order by hour")
    assert [(row["hour"], row["transfers"], row["volume"]) for row in hours][2:] == [
        (february(1), 2, Decimal("0.50")),
        (february(1, 10), 1, 5),
    ]


async def test_top_movers_are_ordered_by_volume(analyst: Connection) -> None:
    await analyst.execute("set timezone = 'Asia/Tokyo'")
    movers = await analyst.fetch("select * from top_movers('2026-02-01')")
    rows = [(row["place"], row["account_id"], row["volume"], row["net"], row["revision"]) for row in movers]
    assert rows == [
        (1, "bob", Decimal("5.25"), Decimal("5.25"), 8),
        (2, "alice", Decimal("0.25"), Decimal("-0.25"), 6),
    ]
    assert len(await analyst.fetch("select * from top_movers('2026-02-01', 1)")) == 1
    assert await analyst.fetch("select * from top_movers('2026-02-02')") == []


async def test_dormant_accounts_had_no_transfer_for_30_days(
    analyst: Connection, projector: Connection
) -> None:
    await projector.execute(
        "insert into balance (account_id, revision, lane, balance, posted_total, transfer_count, recorded_at)"
        " values ('new', 1, 0, 0, 0, 0, now()), ('old', 1, 0, 0, 0, 0, now() - interval '31 days'),"
        " ('busy', 9, 0, 0, 0, 1, now()), ('erased', 2, 0, null, 0, 0, '2020-01-01Z')"
    )
    await projector.execute(
        "insert into transfer"
        " values ('busy', 9, 't', 1, 1, 'epoch', now() - interval '29 days', 'transfers', 0, 9)"
    )
    rows = await analyst.fetch("select account_id, idle from dormant_accounts order by account_id")
    assert [row["account_id"] for row in rows] == ["alice", "bob", "old"]
    assert rows[2]["idle"] > timedelta(days=30)


async def test_reconciliation_lists_disputed_and_drifting_accounts(
    analyst: Connection, projector: Connection
) -> None:
    assert await analyst.fetch("select * from reconciliation") == []
    await projector.execute("update balance set drift = null where account_id = 'bob'")  # unverified
    assert await analyst.fetch("select * from reconciliation") == []
    await projector.execute("update balance set drift = 0.01 where account_id = 'bob'")
    await projector.execute("update balance set disputed_since = now() where account_id = 'alice'")
    rows = await analyst.fetch("select account_id, drift from reconciliation order by account_id")
    assert [tuple(row) for row in rows] == [("alice", 0), ("bob", Decimal("0.01"))]


async def test_freshness_has_a_row_per_partition(analyst: Connection) -> None:
    (row,) = await analyst.fetch("select * from freshness")
    assert (row["lane"], row["transfers_next"], row["balances_next"]) == (0, 7, 8)
    assert (row["last_event_at"], row["epoch"], row["known"]) == (february(1, 10), "00000000000000a1", True)
    assert timedelta(0) <= row["age"] < timedelta(minutes=1)


async def test_quarantine_summary_groups_by_partition_and_reason(
    analyst: Connection, projector: Connection
) -> None:
    assert await analyst.fetch("select * from quarantine_summary") == []
    await projector.execute(
        "insert into quarantine (topic, partition, source_offset, value, headers, kafka_time, reason)"
        " values ('transfers', 0, 3, 'secret', '[]', '2026-02-01Z', 'bad'),"
        " ('transfers', 0, 9, 'secret', '[]', '2026-02-02Z', 'bad'),"
        " ('transfers', 1, 4, 'secret', '[]', '2026-02-01Z', 'bad')"
    )
    rows = await analyst.fetch("select * from quarantine_summary order by partition")
    assert [tuple(row) for row in rows] == [
        ("transfers", 0, "bad", "held", 2, 3, 9, february(1), february(2), "projector"),
        ("transfers", 1, "bad", "held", 1, 4, 4, february(1), february(1), "projector"),
    ]
