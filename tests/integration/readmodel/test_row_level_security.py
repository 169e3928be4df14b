"""A gateway sees only accounts that its statement names, even if the statement has a bug (decision 11)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from livebalance.readmodel import account_pages, gateway_reads, statements
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.gateway_reads import AccountQuery
from livebalance.readmodel.sets import reads as set_reads
from livebalance.wire.identity import AccountId, Epoch, Position, Revision, SetName, TransferId
from tests.servers.database import Database

EPOCH = Epoch("00000000000000a1")
NAMES = [AccountId(name) for name in ("EU-1", "EU-2", "alice", "bob")]
EU_1, EU_2, ALICE, BOB = NAMES
POSITION = Position(EPOCH, Revision(3))

FILL = f"""
insert into projection select true, '{EPOCH}', system_identifier, timeline, 1 from server_identity;
insert into lane values (0, 0, 0, 1, '{EPOCH}', true, null, null, null, null, null, now());
update lane set batches = 7, batches_generation = generation;
insert into balance (account_id, revision, lane, balance, scale, currency, version, transfer_id, client_id,
                     posted_total, transfer_count, recorded_at)
select name, 3, 0, 1.50, 2, 'EUR', 0, 't-1', name, 1.5, 1, now()
  from unnest(string_to_array('{",".join(NAMES)}', ',')) name;
insert into transfer
select account_id, n, account_id || '-' || n, 1.5, n * 1.5, now(), now(), 'transfers', 0, n
  from balance, generate_series(1, 3) n;
"""

Read = Callable[[Connection], Awaitable[Any]]


@pytest.fixture
async def filled(database: Database) -> Database:
    projector = await asyncpg.connect(database.url("projector"))
    await projector.execute(FILL)
    await projector.close()
    return database


@pytest.fixture
async def gateway(filled: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(filled.url("gateway"), server_settings=gateway_reads.SETTINGS)
    yield connection
    await connection.close()


async def visible(gateway: Connection, **settings: str) -> tuple[set[str], set[str]]:
    """Returns the accounts whose balances and transfers are visible in a transaction with these settings."""
    async with gateway.transaction():
        for name, value in settings.items():
            await gateway.execute("select set_config($1, $2, true)", f"livebalance.{name}", value)
        balances = await gateway.fetch("select account_id from balance where true or account_id <> ''")
        transfers = await gateway.fetch("select distinct account_id from transfer")
    return {row[0] for row in balances}, {row[0] for row in transfers}


@pytest.mark.parametrize(
    ("settings", "balances", "transfers"),
    [
        ({}, set(), set()),
        ({"accounts": ""}, set(), set()),
        ({"accounts": "nobody"}, set(), set()),
        ({"accounts": "ali"}, set(), set()),
        ({"accounts": "*"}, set(), set()),
        ({"accounts": "alice"}, {ALICE}, {ALICE}),
        ({"accounts": "alice,bob,nobody"}, {ALICE, BOB}, {ALICE, BOB}),
        ({"prefixes": ""}, set(), set()),
        ({"prefixes": "EU-*"}, {EU_1, EU_2}, set()),
        ({"prefixes": "x*,al*"}, {ALICE}, set()),
        ({"prefixes": "*"}, set(NAMES), set()),
        ({"clients": ""}, set(), set()),
        ({"clients": "bob,nobody"}, {BOB}, set()),
        ({"clients": "*"}, set(), set()),
    ],
)
async def test_only_named_accounts_are_visible(
    gateway: Connection, settings: dict[str, str], balances: set[str], transfers: set[str]
) -> None:
    assert await visible(gateway, **settings) == (balances, transfers)
    assert await visible(gateway) == (set(), set())  # the setting ends with its transaction


async def test_other_roles_see_all_accounts(filled: Database) -> None:
    for role, table in [
        ("projector", "balance"),
        ("projector", "transfer"),
        ("operator", "balance"),
        ("operator", "transfer"),
        ("analyst", "reporting.balances"),
        ("analyst", "reporting.transfers"),
        ("owner", "transfer"),
    ]:
        connection = await asyncpg.connect(filled.url(role))
        result = await connection.fetch(f"select distinct account_id from {table}")
        assert {row[0] for row in result} == set(NAMES), role
        await connection.close()


# --- the statements

READS: dict[str, tuple[Read, Callable[[Any], Any], Any]] = {
    "accounts": (
        lambda sql: gateway_reads.read_accounts(
            sql, [AccountQuery(BOB, None), AccountQuery(ALICE, replace(POSITION, revision=Revision(2)))], 9, 9
        ),
        lambda result: [
            (state.balance and state.balance.client_id, [row.id for row in state.transfers])
            for state in result
        ],
        [(BOB, ["bob-3", "bob-2", "bob-1"]), (ALICE, ["alice-3"])],
    ),
    "audit": (
        lambda sql: gateway_reads.read_audit(
            sql, {ALICE: POSITION, BOB: replace(POSITION, revision=Revision(2))}
        ),
        lambda result: result.revisions,
        {BOB: 3},
    ),
    "older": (
        lambda sql: account_pages.read_older(sql, ALICE, TransferId("alice-3"), 9),
        lambda result: (result.position.revision, [row.id for row in result.transfers]),
        (3, ["alice-2", "alice-1"]),
    ),
    "newer": (
        lambda sql: account_pages.read_newer(sql, BOB, Revision(1), 9),
        lambda result: (result.position.revision, [row.id for row in result.transfers]),
        (3, ["bob-2", "bob-3"]),
    ),
    "transfer": (
        lambda sql: account_pages.read_transfer(sql, ALICE, TransferId("alice-2")),
        lambda result: (result[0].revision, result[1] and result[1].id),
        (3, "alice-2"),
    ),
    "search": (
        lambda sql: statements.search_transfers(
            sql, ALICE, statements.TransferFilter(id_part="-"), TransferId("alice-3"), 9
        ),
        lambda result: (result.page.position.revision, [row.id for row in result.page.transfers]),
        (3, ["alice-2", "alice-1"]),
    ),
    "chart": (
        lambda sql: statements.read_chart(sql, BOB, statements.Period(), 9),
        lambda result: (result.revision, [point.revision for point in result.points]),
        (3, [1, 2, 3]),
    ),
    "edges": (
        lambda sql: statements.read_edges(sql, ALICE, None, None),
        lambda result: (result.position.revision, result.opening.revision, result.closing.revision),
        (3, 0, 3),
    ),
    "revisions": (lambda sql: account_pages.read_revisions(sql, [BOB, EU_1]), dict, {BOB: 3, EU_1: 3}),
    "ids": (
        lambda sql: account_pages.list_accounts(sql, [ALICE, EU_2], [], "", 9),
        lambda result: [row.account for row in result.accounts],
        [EU_2, ALICE],
    ),
    "nothing": (
        lambda sql: account_pages.list_accounts(sql, [], [], "", 9),
        lambda result: result.accounts,
        [],
    ),
    "prefix": (
        lambda sql: account_pages.list_accounts(sql, [BOB], ["EU-"], "EU-1", 9),
        lambda result: [row.account for row in result.accounts],
        [EU_2, BOB],
    ),
    "all": (
        lambda sql: account_pages.list_accounts(sql, [], [""], "", 9),
        lambda result: [row.account for row in result.accounts],
        NAMES,
    ),
    "set of a prefix": (
        lambda sql: set_reads.read_set(sql, SetName("prefix", "EU-"), 9),
        lambda result: (dict(result.lanes), sorted(result.members)),
        ({0: 7}, [EU_1, EU_2]),
    ),
    "set of a client": (
        lambda sql: set_reads.read_set(sql, SetName("client", "bob"), 9),
        lambda result: [(member.view.account, member.view.amount) for member in result.members.values()],
        [(BOB, "1.50")],
    ),
    "set of all": (
        lambda sql: set_reads.read_set(sql, SetName("prefix", ""), 2),
        lambda result: len(result.members),
        3,
    ),
}
PLANNERS = [
    {},
    {"plan_cache_mode": "auto"},
    {"plan_cache_mode": "force_custom_plan"},
    {"enable_nestloop": "off"},
    {"enable_nestloop": "off", "enable_hashjoin": "off"},
    {"enable_nestloop": "off", "enable_mergejoin": "off", "enable_memoize": "off"},
    {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "on"},
    {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_material": "off"},
    {"join_collapse_limit": "1", "from_collapse_limit": "1", "enable_hashagg": "off"},
    {"jit": "on", "jit_above_cost": "0", "enable_sort": "off"},
    {"debug_parallel_query": "on", "parallel_setup_cost": "0", "min_parallel_table_scan_size": "0"},
]


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: ", ".join(planner) or "default")
async def test_accounts_are_named_before_the_lookup_in_every_plan(
    filled: Database, planner: dict[str, str]
) -> None:
    """Each statement runs several times, because Postgres may change its plan after some executions."""
    connection = await asyncpg.connect(
        filled.url("gateway"), server_settings={**gateway_reads.SETTINGS, **planner}
    )
    for _ in range(8):
        for read, shown, expected in READS.values():
            assert shown(await read(connection)) == expected
    await connection.close()


NOTHING: dict[str, Any] = {
    "accounts": [(None, []), (None, [])],
    "audit": {ALICE: 0, BOB: 0},
    "older": (0, []),
    "newer": (0, []),
    "transfer": (0, None),
    "search": (0, []),
    "chart": (0, []),
    "edges": (0, 0, 0),
    "revisions": {},
    "ids": [],
    "nothing": [],
    "prefix": [],
    "all": [],
    "set of a prefix": ({0: 7}, []),
    "set of a client": [],
    "set of all": 0,
}
STATEMENTS = [
    *[(gateway_reads, name) for name in ("_ACCOUNTS", "_AUDIT")],
    *[(account_pages, name) for name in ("_OLDER", "_NEWER", "_BY_ID", "_REVISIONS", "_LIST")],
    *[(statements, name) for name in ("_EDGES", "_SEARCH", "_CHART")],
    (set_reads, "_PREFIX"),
    (set_reads, "_CLIENT"),
]


def plant_bug(monkeypatch: pytest.MonkeyPatch, correct: str, wrong: str) -> None:
    """Replaces a fragment in every statement that contains it."""
    for module, name in STATEMENTS:
        monkeypatch.setattr(module, name, getattr(module, name).replace(correct, wrong))


@pytest.mark.parametrize("name", READS)
async def test_statement_that_names_no_account_returns_nothing(
    gateway: Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plant_bug(monkeypatch, "set_config('livebalance.", "set_config('livebalance.not_")
    read, shown, _ = READS[name]
    assert shown(await read(gateway)) == NOTHING[name]


@pytest.mark.parametrize(
    ("correct", "wrong"),
    [
        ("account_id = seen.accounts and", ""),
        ("account_id = w.account\n                   and", ""),
        ("account_id = w.account limit", "account_id = 'EU-1' limit"),
        ("account_id = seen.accounts limit", "account_id = 'EU-1' limit"),
        ("where account_id = w.account limit", "limit"),
        ("account_id = any(string_to_array(seen.accounts, ',')) and", ""),
        (" and account_id >= left(p.prefix, -1)", ""),
        ("account_id = l.account_id limit", "account_id = 'bob' limit"),
        ("account_id >= left(seen.name, -1) collate", "'~' >= left(seen.name, -1) collate"),
        ("client_id = seen.name", "client_id <> seen.name"),
    ],
)
async def test_statement_with_a_wrong_lookup_returns_no_other_account(
    gateway: Connection, monkeypatch: pytest.MonkeyPatch, correct: str, wrong: str
) -> None:
    """Rows of accounts that the statement does not name stay invisible."""
    before = [getattr(*statement) for statement in STATEMENTS]
    plant_bug(monkeypatch, correct, wrong)
    assert before != [getattr(*statement) for statement in STATEMENTS]
    reads: list[tuple[AccountId, Read]] = [
        (ALICE, lambda sql: gateway_reads.read_accounts(sql, [AccountQuery(ALICE, None)], 9, 9)),
        (
            ALICE,
            lambda sql: gateway_reads.read_accounts(
                sql, [AccountQuery(ALICE, replace(POSITION, revision=Revision(1)))], 9, 9
            ),
        ),
        (BOB, lambda sql: account_pages.read_older(sql, BOB, None, 9)),
        (BOB, lambda sql: account_pages.read_newer(sql, BOB, Revision(0), 9)),
        (ALICE, lambda sql: account_pages.read_transfer(sql, ALICE, TransferId("bob-1"))),
        (ALICE, lambda sql: account_pages.read_revisions(sql, [ALICE])),
        (BOB, lambda sql: statements.read_edges(sql, BOB, None, None)),
        (BOB, lambda sql: statements.search_transfers(sql, BOB, statements.TransferFilter(), None, 9)),
        (BOB, lambda sql: statements.read_chart(sql, BOB, statements.Period(), 9)),
        (ALICE, lambda sql: account_pages.list_accounts(sql, [ALICE], [], "", 9)),
        (ALICE, lambda sql: account_pages.list_accounts(sql, [], ["ali"], "", 9)),
        (BOB, lambda sql: set_reads.read_set(sql, SetName("prefix", "bo"), 9)),
        (BOB, lambda sql: set_reads.read_set(sql, SetName("client", "bob"), 9)),
    ]
    for account, read in reads:
        result = str(await read(gateway))
        assert not [name for name in NAMES if name != account and name in result], result
