"""A gateway's role sees rows of no account but those its statement names, whatever else is wrong with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from livebalance.readmodel import gateway_reads, statements
from livebalance.readmodel.gateway_reads import AccountQuery
from livebalance.readmodel.projector_writes import Connection
from livebalance.wire.identity import AccountId, Epoch, Position, Revision, TransferId
from tests.servers.database import Database

EPOCH = Epoch("00000000000000a1")
NAMES = [AccountId(name) for name in ("EU-1", "EU-2", "alice", "bob")]
EU_1, EU_2, ALICE, BOB = NAMES
HERE = Position(EPOCH, Revision(3))

FILL = f"""
insert into projection select true, '{EPOCH}', system_identifier, timeline, 1 from server_identity;
insert into lane values (0, 0, 0, 1, '{EPOCH}', true, null, null, null, null, null, now());
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


async def named(gateway: Connection, **settings: str) -> tuple[set[str], set[str]]:
    """Whose balances and transfers a transaction with these settings sees, however it asks."""
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
    ],
)
async def test_only_what_was_named_is_there(
    gateway: Connection, settings: dict[str, str], balances: set[str], transfers: set[str]
) -> None:
    assert await named(gateway, **settings) == (balances, transfers)
    assert await named(gateway) == (set(), set())  # and no longer than its transaction


async def test_all_others_see_what_they_are_granted(filled: Database) -> None:
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
        found = await connection.fetch(f"select distinct account_id from {table}")
        assert {row[0] for row in found} == set(NAMES), role
        await connection.close()


# --- the statements

READS: dict[str, tuple[Read, Callable[[Any], Any], Any]] = {
    "accounts": (
        lambda sql: gateway_reads.read_accounts(
            sql, [AccountQuery(BOB, None), AccountQuery(ALICE, replace(HERE, revision=Revision(2)))], 9, 9
        ),
        lambda found: [
            (one.balance and one.balance.client_id, [row.id for row in one.transfers]) for one in found
        ],
        [(BOB, ["bob-3", "bob-2", "bob-1"]), (ALICE, ["alice-3"])],
    ),
    "audit": (
        lambda sql: gateway_reads.read_audit(sql, {ALICE: HERE, BOB: replace(HERE, revision=Revision(2))}),
        lambda found: found.revisions,
        {BOB: 3},
    ),
    "older": (
        lambda sql: gateway_reads.read_older(sql, ALICE, TransferId("alice-3"), 9),
        lambda found: (found.position.revision, [row.id for row in found.transfers]),
        (3, ["alice-2", "alice-1"]),
    ),
    "newer": (
        lambda sql: gateway_reads.read_newer(sql, BOB, Revision(1), 9),
        lambda found: (found.position.revision, [row.id for row in found.transfers]),
        (3, ["bob-2", "bob-3"]),
    ),
    "transfer": (
        lambda sql: gateway_reads.read_transfer(sql, ALICE, TransferId("alice-2")),
        lambda found: (found.position.revision, [row.id for row in found.transfers]),
        (3, ["alice-2"]),
    ),
    "edges": (
        lambda sql: statements.read_edges(sql, ALICE, None, None),
        lambda found: (found.position.revision, found.opening.revision, found.closing.revision),
        (3, 0, 3),
    ),
    "revisions": (lambda sql: gateway_reads.read_revisions(sql, [BOB, EU_1]), dict, {BOB: 3, EU_1: 3}),
    "ids": (
        lambda sql: gateway_reads.list_accounts(sql, [ALICE, EU_2], [], "", 9),
        lambda found: [row.account for row in found],
        [EU_2, ALICE],
    ),
    "nothing": (lambda sql: gateway_reads.list_accounts(sql, [], [], "", 9), list, []),
    "prefix": (
        lambda sql: gateway_reads.list_accounts(sql, [BOB], ["EU-"], "EU-1", 9),
        lambda found: [row.account for row in found],
        [EU_2, BOB],
    ),
    "all": (
        lambda sql: gateway_reads.list_accounts(sql, [], [""], "", 9),
        lambda found: [row.account for row in found],
        NAMES,
    ),
}
PLANNERS = [
    {},
    {"plan_cache_mode": "force_generic_plan"},
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


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: ", ".join(planner) or "as it is")
async def test_what_is_looked_for_is_named_before_however_it_is_planned(
    filled: Database, planner: dict[str, str]
) -> None:
    """Several times each: the plan of a statement becomes another one when it is asked again."""
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
    "transfer": (0, []),
    "edges": (0, 0, 0),
    "revisions": {},
    "ids": [],
    "nothing": [],
    "prefix": [],
    "all": [],
}
STATEMENTS = [
    *[
        (gateway_reads, name)
        for name in ("_ACCOUNTS", "_AUDIT", "_OLDER", "_NEWER", "_BY_ID", "_REVISIONS", "_LIST")
    ],
    (statements, "_EDGES"),
]


def broken(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    """A bug in every statement that has what is right."""
    for file, name in STATEMENTS:
        monkeypatch.setattr(file, name, getattr(file, name).replace(right, wrong))


@pytest.mark.parametrize("name", READS)
async def test_a_statement_that_names_nothing_shows_nothing(
    gateway: Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    broken(monkeypatch, "set_config('livebalance.", "set_config('livebalance.not_")
    read, shown, _ = READS[name]
    assert shown(await read(gateway)) == NOTHING[name]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("account_id = seen.accounts and", ""),
        ("account_id = w.account and", ""),
        ("account_id = w.account limit", "account_id = 'EU-1' limit"),
        ("account_id = seen.accounts limit", "account_id = 'EU-1' limit"),
        ("where account_id = w.account limit", "limit"),
        ("account_id = any(string_to_array(seen.accounts, ',')) and", ""),
        (" and account_id >= left(p.prefix, -1)", ""),
        ("account_id = l.account_id limit", "account_id = 'bob' limit"),
    ],
)
async def test_a_statement_that_looks_elsewhere_finds_nothing_there(
    gateway: Connection, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    """It may mix up what it names; what it does not name is not there for it."""
    before = [getattr(*one) for one in STATEMENTS]
    broken(monkeypatch, right, wrong)
    assert before != [getattr(*one) for one in STATEMENTS]
    alone: list[tuple[AccountId, Read]] = [
        (ALICE, lambda sql: gateway_reads.read_accounts(sql, [AccountQuery(ALICE, None)], 9, 9)),
        (
            ALICE,
            lambda sql: gateway_reads.read_accounts(
                sql, [AccountQuery(ALICE, replace(HERE, revision=Revision(1)))], 9, 9
            ),
        ),
        (BOB, lambda sql: gateway_reads.read_older(sql, BOB, None, 9)),
        (BOB, lambda sql: gateway_reads.read_newer(sql, BOB, Revision(0), 9)),
        (ALICE, lambda sql: gateway_reads.read_transfer(sql, ALICE, TransferId("bob-1"))),
        (ALICE, lambda sql: gateway_reads.read_revisions(sql, [ALICE])),
        (BOB, lambda sql: statements.read_edges(sql, BOB, None, None)),
        (ALICE, lambda sql: gateway_reads.list_accounts(sql, [ALICE], [], "", 9)),
        (ALICE, lambda sql: gateway_reads.list_accounts(sql, [], ["ali"], "", 9)),
    ]
    for account, read in alone:
        found = str(await read(gateway))
        assert not [name for name in NAMES if name != account and name in found], found
