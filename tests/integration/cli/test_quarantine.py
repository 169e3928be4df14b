"""`livebalance quarantine`, with a real Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.projection import batch_writes
from livebalance.readmodel.quarantine import request_replay, requested_replays
from livebalance.readmodel.rows import QuarantineRow
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.timestamp import Millis
from tests.integration.cli.command_line import CommandResult, run_command
from tests.servers.database import Database

BAD = QuarantineRow("transfers", Lane(2), Offset(7), b"alice", b"\x00\xff", b"\x90", Millis(5), "bad value")
ROWS = [
    BAD,
    BAD._replace(topic="balances", partition=Lane(0), key=b"\x1b[2J\xff", reason="unknown schema id 7"),
    BAD._replace(source_offset=Offset(8), key=None, value=None, reason="no value"),
    BAD._replace(source_offset=Offset(9)),
]


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """A connection to a database with these quarantined records; the last record was applied."""
    connection = await asyncpg.connect(database.url("owner"))
    await batch_writes.insert_quarantined(connection, ROWS)
    await connection.execute("update quarantine set state = 'applied' where source_offset = 9")
    yield connection
    await connection.close()


async def run_quarantine(database: Database, *words: str) -> CommandResult:
    return await run_command({"LIVEBALANCE_POSTGRES": database.url("operator")}, "quarantine", *words)


async def list_ids(database: Database, *words: str) -> list[int]:
    result = await run_quarantine(database, "list", "--json", *words)
    assert (result.code, result.err) == (0, "")
    return [record["id"] for record in json.loads(result.out)["records"]]


async def test_quarantined_records_are_listed(database: Database, owner: Connection) -> None:
    result = await run_quarantine(database, "list")
    assert result.out.splitlines() == [
        "     4  applied    transfers/2@9  1970-01-01T00:00:00.005Z  alice  projector: bad value",
        "     3  held       transfers/2@8  1970-01-01T00:00:00.005Z  -  projector: no value",
        r"     2  held       balances/0@7  1970-01-01T00:00:00.005Z  \x1b[2J\\xff"
        "  projector: unknown schema id 7",
        "     1  held       transfers/2@7  1970-01-01T00:00:00.005Z  alice  projector: bad value",
    ]
    result = await run_quarantine(database, "list", "--json", "--limit", "1")
    first = {
        "id": 4,
        "topic": "transfers",
        "partition": 2,
        "offset": 9,
        "kafka_time": "1970-01-01T00:00:00.005Z",
        "key": "alice",
        "size": 2,
        "reason": "bad value",
        "state": "applied",
        "rejected_by": "projector",
        "headers": [],
    }
    assert json.loads(result.out) == {"records": [first], "more": True}


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("--state held", [3, 2, 1]),
        ("--lane 0", [2]),
        ("--topic transfers --reason value", [4, 3, 1]),
        ("--reason nothing", []),
        ("--of recorder", []),
        ("--of projector --state held", [3, 2, 1]),
        ("--limit 2", [4, 3]),
    ],
)
async def test_filters_select_records(
    database: Database, owner: Connection, words: str, ids: list[int]
) -> None:
    assert await list_ids(database, *words.split()) == ids


async def test_empty_quarantine_lists_no_records(database: Database) -> None:
    assert (await run_quarantine(database, "list")).out == "No records.\n"


async def test_replay_marks_records_for_the_owner_of_the_lane(database: Database, owner: Connection) -> None:
    result = await run_quarantine(database, "replay", "2", "1", "2", "--reason", "fixed")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Requested the replay of 2 records;")
    assert [record.id for record in await requested_replays(owner, [Lane(0), Lane(2)], 9)] == [1, 2]
    assert [record.id for record in await requested_replays(owner, [Lane(2)], 9)] == [1]
    rows = await owner.fetch("select what, lane, was, became, by, why from intervention order by id")
    assert [tuple(row) for row in rows] == [
        ("quarantine", 2, "transfers/2@7: bad value", None, "operator", "fixed"),
        ("quarantine", 0, "balances/0@7: unknown schema id 7", None, "operator", "fixed"),
    ]


async def test_replay_with_an_invalid_record_replays_none(database: Database, owner: Connection) -> None:
    await run_quarantine(database, "replay", "2", "--reason", "fixed")
    result = await run_quarantine(database, "replay", "1", "2", "3", "4", "5", "--reason", "fixed", "--json")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "livebalance: nothing is replayed: record 2 is replay, not held, record 3 has no value,"
        " record 4 is applied, not held, record 5 does not exist\n"
    )
    assert await owner.fetchval("select state from quarantine where id = 1") == "held"
    assert await owner.fetchval("select count(*) from intervention") == 1


async def test_concurrent_replays_of_a_record_succeed_once(database: Database, owner: Connection) -> None:
    both = [await asyncpg.connect(database.url("operator")) for _ in range(2)]
    outcomes = await asyncio.gather(*(request_replay(connection, [1], "twice") for connection in both))
    assert sorted(outcomes, key=len) == [{}, {1: "is replay, not held"}]
    assert await owner.fetchval("select count(*) from intervention") == 1
    await asyncio.gather(*(connection.close() for connection in both))


@pytest.mark.parametrize("words", ["list", "replay 1 --reason x"])
async def test_failed_command_gives_one_error_line(words: str) -> None:
    environment = {"LIVEBALANCE_POSTGRES": "postgresql://operator@127.0.0.1:1/x"}
    result = await run_command(environment, "quarantine", *words.split())
    assert (result.code, result.out) == (1, "")
    assert "Postgres: " in result.err
    assert result.err.count("\n") == 1
