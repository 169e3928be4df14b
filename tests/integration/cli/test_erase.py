"""`livebalance erase`, with a real Kafka and Postgres."""

import json

import asyncpg
from aiokafka import TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import read_range
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.lifecycle import ERASURE, Erased, decode_lifecycle, erasure_bound
from livebalance.wire.kafka.raw_record import RawRecord
from tests.integration.cli.command_line import CommandResult, run_command
from tests.servers.database import Database

BALANCE = """
insert into balance (account_id, revision, lane, posted_total, transfer_count, recorded_at)
values ('alice', 1, 2, 0, 0, 'epoch')
"""


async def erase(kafka: str, topics: Topics, database: Database, account: str) -> CommandResult:
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("operator"),
        "LIVEBALANCE_KAFKA": kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
        "LIVEBALANCE_LIFECYCLE_TOPIC": topics.lifecycle or "not-there",
    }
    return await run_command(environment, "erase", account, "--reason", "asked for", "--json")


async def interventions(database: Database) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(database.url("owner"))
    try:
        rows = await connection.fetch("select what, lane, was, why, by from intervention")
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def open_account(database: Database) -> None:
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute(BALANCE)
    await connection.close()


async def records(kafka: str, topic: str) -> list[RawRecord]:
    read: list[RawRecord] = []
    await read_range(Broker(kafka), TopicPartition(topic, 2), read.append)
    return read


async def test_erase_writes_the_null_and_the_lifecycle_record_with_the_same_bounds(
    kafka: str, topics: Topics, database: Database
) -> None:
    await open_account(database)
    result = await erase(kafka, topics, database, "alice")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == {"account": "alice", "lane": 2, "transfers_before": 0}
    [null] = await records(kafka, topics.balances)
    [record] = await records(kafka, topics.lifecycle)
    assert (null.key, null.value, record.key) == (b"alice", None, b"alice")
    assert [name for name, _ in null.headers] == [ERASURE]
    erased = decode_lifecycle(AccountId("alice"), record.value or b"")
    assert isinstance(erased, Erased)
    assert erased.transfers == erasure_bound(null.headers)
    assert erased.balances.before == null.offset
    assert await interventions(database) == [("erase", 2, "alice", "asked for", "operator")]


async def test_erase_without_a_lifecycle_topic_erases_nothing(
    kafka: str, topics: Topics, database: Database
) -> None:
    await open_account(database)
    without = Topics(topics.transfers, topics.balances, topics.partitions)
    result = await erase(kafka, without, database, "alice")
    assert (result.code, "there is no topic not-there" in result.err) == (1, True)
    assert await records(kafka, topics.balances) == []
    assert await interventions(database) == []


async def test_erase_of_an_unknown_account_erases_nothing(
    kafka: str, topics: Topics, database: Database
) -> None:
    result = await erase(kafka, topics, database, "nobody")
    assert (result.code, "the projection has no account nobody" in result.err) == (1, True)
    assert await records(kafka, topics.lifecycle) == []
