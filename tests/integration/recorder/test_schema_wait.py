"""A partition waits for the schemas of its own transfers. The other partitions go on."""

import asyncio
from functools import partial

import pytest
from aiokafka import TopicPartition

from livebalance.runtime.schema import waiting_lanes
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import SchemaId
from livebalance.wire.kafka.raw_record import RawRecord
from tests.integration.recorder.recorder_process import running_recorder, settings
from tests.integration.recorder.topic_records import read_records, transfer, wait_until
from tests.integration.runtime.registry_server import RegistryServer, running
from tests.servers.database import Database
from tests.servers.raw_producer import write_raw_records

AT = 1_795_540_800_000


async def is_recorded(kafka: str, topics: Topics, *transfers: tuple[int, int]) -> bool:
    """Returns whether a balance names each of the transfers: pairs of a partition and an offset."""
    records = await read_records(kafka, topics.balances, topics.partitions)
    recorded = {(record.partition, int(dict(record.headers)[b"source-offset"] or b"")) for record in records}
    return recorded >= set(transfers)


async def test_partition_with_an_unknown_schema_waits_alone_while_the_registry_hangs(
    kafka: str, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_lanes, "_RETRY_SECONDS", 0.2)
    registry = RegistryServer()
    known = SchemaId(registry.add(schema=avro.TRANSFER_SCHEMA_TEXT))
    new = SchemaId(registry.add(schema=avro.TRANSFER_SCHEMA_TEXT, new=True))

    async def write(partition: int, id_: str, schema: SchemaId) -> None:
        value = avro.encode_transfer(transfer(id_, f"account-{partition}", 100), schema)
        record = RawRecord("", 0, 0, AT, f"account-{partition}".encode(), value, ())
        await write_raw_records(kafka, TopicPartition(topics.transfers, partition), [record])

    async with (
        running(registry),
        running_recorder(settings(kafka, topics, database, schema_registry=registry.url)),
    ):
        for partition in (0, 1):
            await write(partition, "t-0", known)
        await wait_until(partial(is_recorded, kafka, topics, (0, 0), (1, 0)))
        registry.answers = asyncio.Event()
        await write(0, "t-1", new)
        await write(0, "t-2", known)
        for offset in range(1, 5):
            await write(1, f"t-{offset}", known)
            await wait_until(partial(is_recorded, kafka, topics, (1, offset)))
        assert not await is_recorded(kafka, topics, (0, 1))
        registry.answers.set()
        await wait_until(partial(is_recorded, kafka, topics, (0, 1), (0, 2)))
