"""What a recorder keeps in Postgres, and an operator's commands."""

from collections.abc import Mapping
from typing import Any

import asyncpg
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete

from livebalance.stack.servers.topics import Topics
from tests.integration.cli.command_line import CommandResult, run_command
from tests.integration.recorder.topic_records import wait_until
from tests.servers.database import Database

Row = Any  # an asyncpg.Record


async def query(database: Database, sql: str, *arguments: object) -> list[Row]:
    connection = await asyncpg.connect(database.url("owner"))
    try:
        return list(await connection.fetch(sql, *arguments))
    finally:
        await connection.close()


async def halted(database: Database) -> dict[int, str]:
    """Returns the halted partitions, each with the reason."""
    sql = "select lane, halted_why from recorder_lane where halted_why is not null order by lane"
    return {row["lane"]: row["halted_why"] for row in await query(database, sql)}


async def wait_until_halted(database: Database, reasons: Mapping[int, str], seconds: float = 60.0) -> None:
    """Waits until exactly these partitions are halted."""

    async def are_halted() -> bool:
        return (await halted(database)).keys() == reasons.keys()

    await wait_until(are_halted, seconds)
    assert await halted(database) == reasons


async def run_operator(kafka: str, topics: Topics, database: Database, *words: str) -> CommandResult:
    environment = {
        "LIVEBALANCE_KAFKA": kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
        "LIVEBALANCE_POSTGRES": database.url("operator"),
    }
    return await run_command(environment, *words)


async def continue_partition(
    kafka: str, topics: Topics, database: Database, number: int, *words: str
) -> CommandResult:
    """Lets a halted partition of the recorder continue."""
    command = ("lane", "continue", str(number), "--of", "recorder", "--reason", "of the test")
    result = await run_operator(kafka, topics, database, *command, *words)
    assert (result.code, result.err) == (0, "")
    return result


async def delete_records(kafka: str, topic: str, partition: int, before: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def recreate(kafka: str, topic: str, partitions: int) -> None:
    """Deletes a topic and creates it again, empty, with the same configuration."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        config = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
        new = NewTopic(topic, partitions, 1, topic_configs=config)

        async def is_created() -> bool:
            answer = await admin.create_topics([new])
            return bool(answer.topic_errors[0][1] == 0)

        await wait_until(is_created)
    finally:
        await admin.close()


async def add_partitions(kafka: str, topics: Topics, total: int) -> None:
    names = topics.transfers, topics.balances, topics.lifecycle
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_partitions({name: NewPartitions(total_count=total) for name in names if name})
    finally:
        await admin.close()
