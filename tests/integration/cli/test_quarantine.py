"""`livebalance quarantine` as an operator types it, on a real Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel import projector_writes
from livebalance.readmodel.quarantine import mark, marked
from livebalance.readmodel.rows import QuarantineRow
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.timestamp import Millis
from tests.integration.cli.operator import Said, said
from tests.servers.database import Database

BAD = QuarantineRow("transfers", Lane(2), Offset(7), b"alice", b"\x00\xff", "[]", Millis(5), "bad value")
ROWS = [
    BAD,
    BAD._replace(topic="balances", partition=Lane(0), key=b"\x1b[2J\xff", reason="unknown schema id 7"),
    BAD._replace(source_offset=Offset(8), key=None, value=None, reason="no value"),
    BAD._replace(source_offset=Offset(9)),
]


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[projector_writes.Connection]:
    """Of a database with these rows in quarantine; the last one was applied."""
    connection = await asyncpg.connect(database.url("owner"))
    await projector_writes.quarantine(connection, ROWS)
    await connection.execute("update quarantine set state = 'applied' where source_offset = 9")
    yield connection
    await connection.close()


async def told(database: Database, *words: str) -> Said:
    return await said({"LIVEBALANCE_POSTGRES": database.url("operator")}, "quarantine", *words)


async def listed(database: Database, *words: str) -> list[int]:
    done = await told(database, "list", "--json", *words)
    assert (done.code, done.err) == (0, "")
    return [one["id"] for one in json.loads(done.out)["records"]]


async def test_what_was_put_aside_is_listed(database: Database, owner: projector_writes.Connection) -> None:
    done = await told(database, "list")
    assert done.out.splitlines() == [
        "     4  applied    transfers/2@9  1970-01-01T00:00:00.005Z  alice  bad value",
        "     3  held       transfers/2@8  1970-01-01T00:00:00.005Z  -  no value",
        r"     2  held       balances/0@7  1970-01-01T00:00:00.005Z  \x1b[2J\\xff  unknown schema id 7",
        "     1  held       transfers/2@7  1970-01-01T00:00:00.005Z  alice  bad value",
    ]
    done = await told(database, "list", "--json", "--limit", "1")
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
    }
    assert json.loads(done.out) == {"records": [first], "more": True}


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("--state held", [3, 2, 1]),
        ("--lane 0", [2]),
        ("--topic transfers --reason value", [4, 3, 1]),
        ("--reason nothing", []),
        ("--limit 2", [4, 3]),
    ],
)
async def test_some_of_it_is(
    database: Database, owner: projector_writes.Connection, words: str, ids: list[int]
) -> None:
    assert await listed(database, *words.split()) == ids


async def test_there_may_be_none(database: Database) -> None:
    assert (await told(database, "list")).out == "There are none.\n"


async def test_a_marked_record_waits_for_the_owner_of_its_lane(
    database: Database, owner: projector_writes.Connection
) -> None:
    done = await told(database, "replay", "2", "1", "2", "--why", "mended")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("2 records are to be applied now")
    assert [one.id for one in await marked(owner, [Lane(0), Lane(2)], 9)] == [1, 2]
    assert [one.id for one in await marked(owner, [Lane(2)], 9)] == [1]
    notes = await owner.fetch("select what, lane, was, became, by, why from intervention order by id")
    assert [tuple(note) for note in notes] == [
        ("quarantine", 2, "transfers/2@7: bad value", None, "operator", "mended"),
        ("quarantine", 0, "balances/0@7: unknown schema id 7", None, "operator", "mended"),
    ]


async def test_all_or_none_and_one_line_says_why(
    database: Database, owner: projector_writes.Connection
) -> None:
    await told(database, "replay", "2", "--why", "mended")
    done = await told(database, "replay", "1", "2", "3", "4", "5", "--why", "mended", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "livebalance: nothing is replayed: record 2 is replay, not held, record 3 has no value,"
        " record 4 is applied, not held, record 5 is not there\n"
    )
    assert await owner.fetchval("select state from quarantine where id = 1") == "held"
    assert await owner.fetchval("select count(*) from intervention") == 1


async def test_of_two_who_mark_one_record_one_has_done_it(
    database: Database, owner: projector_writes.Connection
) -> None:
    both = [await asyncpg.connect(database.url("operator")) for _ in range(2)]
    done = await asyncio.gather(*(mark(one, [1], "twice") for one in both))
    assert sorted(done, key=len) == [{}, {1: "is replay, not held"}]
    assert await owner.fetchval("select count(*) from intervention") == 1
    await asyncio.gather(*(one.close() for one in both))


@pytest.mark.parametrize("words", ["list", "replay 1 --why x"])
async def test_what_fails_is_one_line(words: str) -> None:
    away = {"LIVEBALANCE_POSTGRES": "postgresql://operator@127.0.0.1:1/x"}
    done = await said(away, "quarantine", *words.split())
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("livebalance: nothing is ")
    assert done.err.count("\n") == 1
