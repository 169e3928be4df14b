"""Records of any bytes, written by a producer that checks nothing: each is applied or quarantined."""

import json

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.headers import Headers, decode_headers
from livebalance.wire.kafka.raw_record import RawRecord
from tests.integration.cli.command_line import run_command
from tests.integration.projector.pipeline import TIME_MS, Pipeline, balance, transfer
from tests.servers.raw_producer import write_raw_records

MEBIBYTE = 2**20
NAMES: Headers = ((b"\x00", b"1"), (b"\xff\xfe", None), (b"h", b"\x00\xff"), (b"", b""))
GOOD = avro.encode_transfer(transfer("alice", "t-1", 100), TRANSFER_ID)


async def allow_large_records(kafka: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        configs = {"max.message.bytes": str(16 * MEBIBYTE), "message.timestamp.after.max.ms": str(2**63 - 1)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    finally:
        await admin.close()


class Writer:
    """Writes raw records to lane 0."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._kafka, self.topics = pipeline.kafka, pipeline.topics

    async def write(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = NAMES,
        timestamp: int = TIME_MS,
    ) -> RawRecord:
        record = RawRecord(topic, 0, 0, timestamp, key, value, headers)
        await write_raw_records(self._kafka, TopicPartition(topic, 0), [record])
        return record


@pytest.fixture
async def writer(pipeline: Pipeline) -> Writer:
    await allow_large_records(pipeline.kafka, pipeline.topics.transfers)
    return Writer(pipeline)


async def test_record_of_any_bytes_is_applied_or_quarantined(pipeline: Pipeline, writer: Writer) -> None:
    transfers, balances = pipeline.topics.transfers, pipeline.topics.balances
    huge = b"\x00\x00\x00\x00\x01" + bytes(10 * MEBIBYTE)
    rejected = [
        await writer.write(transfers, b"alice", b"bad"),
        await writer.write(transfers, b"alice", b""),
        await writer.write(transfers, b"\xff\x00", GOOD),
        await writer.write(transfers, None, None),
        await writer.write(transfers, b"alice", b"bad", timestamp=-(2**40)),
        await writer.write(transfers, b"alice", b"bad", timestamp=2**60),
        await writer.write(transfers, b"alice", huge),
        await writer.write(transfers, b"alice", b"bad", headers=((bytes(MEBIBYTE), bytes(MEBIBYTE)),)),
        await writer.write(balances, b"\xff", None),
        await writer.write(balances, b"a\x00b", None),
    ]
    opening = avro.encode_balance(balance("alice", 0, "", 0), BALANCE_ID)
    after = avro.encode_balance(balance("alice", 1, "t-1", 100), BALANCE_ID)
    await writer.write(transfers, b"alice", GOOD)
    await writer.write(balances, b"alice", opening)
    await writer.write(balances, b"alice", after)
    await pipeline.write([transfer("bob", "t-1", 1)], 1)
    async with pipeline.running():
        await pipeline.wait_for("select count(*)::int from transfer", 2)
        await pipeline.wait_for("select drift::int from balance where account_id = 'alice'", 0)
        await pipeline.wait_for("select count(*)::int from quarantine", len(rejected))
    rows = await pipeline.query("select topic, key, value, header_bytes from quarantine")
    kept = {(row[0], row[1], row[2], tuple(decode_headers(row[3]))) for row in rows}
    assert kept == {(record.topic, record.key, record.value, tuple(record.headers)) for record in rejected}


async def test_quarantined_headers_are_listed_and_replayed(pipeline: Pipeline, writer: Writer) -> None:
    operator = {"LIVEBALANCE_POSTGRES": pipeline.database.url("operator")}
    async with pipeline.running():
        await writer.write(pipeline.topics.transfers, b"alice", b"bad")
        await pipeline.wait_for("select count(*)::int from quarantine where state = 'held'", 1)
        listed = await run_command(operator, "quarantine", "list", "--json")
        [record] = json.loads(listed.out)["records"]
        assert record["headers"] == [
            [r"\x00", "1"],
            [r"\\xff\\xfe", None],
            ["h", r"\x00\\xff"],
            ["", ""],
        ]
        await pipeline.query("update quarantine set value = $1", GOOD)
        result = await run_command(operator, "quarantine", "replay", "1", "--reason", "repaired")
        assert (result.code, result.err) == (0, "")
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        [row] = await pipeline.query("select header_bytes from quarantine where state = 'applied'")
        assert tuple(decode_headers(row[0])) == NAMES


async def test_headers_of_an_earlier_release_are_listed(pipeline: Pipeline) -> None:
    await pipeline.query(
        "insert into quarantine (topic, partition, source_offset, headers, kafka_time, reason)"
        """ values ('t', 0, 7, '[["h", "00ff"], ["n", null]]', now(), 'bad')"""
    )
    listed = await run_command(
        {"LIVEBALANCE_POSTGRES": pipeline.database.url("operator")}, "quarantine", "list", "--json"
    )
    assert json.loads(listed.out)["records"][0]["headers"] == [["h", r"\x00\\xff"], ["n", None]]
