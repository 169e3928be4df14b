"""`livebalance check source` as an operator types it, on a real broker."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID
from livebalance.stack.servers.topics import RULES, Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.codec import JSON
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money

A = AccountId("alice")
TRANSFER = Transfer(TransferId("t-1"), A, Money(-1250, 2), 1_795_000_000_000)
BALANCE = Balance(A, "client", TransferId("t-1"), Money(8750, 2), 1)


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        return json.loads(self.out)


Check = Callable[..., Awaitable[Said]]


@pytest.fixture
def check(kafka: str, topics: Topics) -> Check:
    async def said(*words: str, **settings: str) -> Said:
        environment = {
            "LIVEBALANCE_KAFKA": kafka,
            "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
            "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
            **{f"LIVEBALANCE_{name.upper()}": value for name, value in settings.items()},
            "COLUMNS": "100",
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livebalance.cli", "check", "source", *words),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return Said(process.returncode or 0, out.decode(), err.decode())

    return said


@pytest.fixture
async def write(kafka: str, topics: Topics) -> Any:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()

    async def one(topic: str, value: bytes | None, key: bytes | None = b"alice", partition: int = 0) -> None:
        await producer.send_and_wait(getattr(topics, topic), value, key, partition)

    yield one
    await producer.stop()


async def test_good_topics(check: Check, write: Any, topics: Topics) -> None:
    await write("transfers", avro.encode_transfer(TRANSFER, TRANSFER_ID))
    await write("balances", avro.encode_balance(BALANCE, BALANCE_ID))
    await write("balances", None, b"bob")
    found = await check("--json")
    assert (found.code, found.err) == (0, "")
    transfers, balances = (found.report["topics"][name] for name in (topics.transfers, topics.balances))
    assert found.report["good"]
    assert len(transfers["partitions"]) == topics.partitions
    assert transfers["partitions"]["0"] == {"first": 0, "end": 1, "begin": 0}
    assert transfers["kept"]["retention.ms"] == "-1"
    assert transfers["newest"]["amount"] == "-12.50"
    assert (balances["looked_at"], balances["erased"], balances["newest"]["version"]) == (2, 1, 1)
    words = await check()
    assert words.code == 0
    assert "amount=-12.50" in words.out
    assert "A projection can be built" in words.out


async def test_times_of_producers_are_warned_of(
    check: Check, kafka: str, topics: Topics, tmp_path: Path
) -> None:
    found = await check("--json")
    assert found.report["open_periods"].startswith(
        f"{topics.transfers} has message.timestamp.type=CreateTime"
    )
    assert found.code == 0
    assert found.report["open_periods"] in (await check()).out
    rules = tmp_path / "topics.toml"
    rules.write_text(
        re.sub(r"(\[.*\]\n)", r'\1"message.timestamp.type" = "LogAppendTime"\n', RULES.read_text())
    )
    stamped = Topics(f"{topics.transfers}-stamped", f"{topics.balances}-stamped", 1)
    await stamped.create(Broker(kafka), rules)
    found = await check("--json", transfers_topic=stamped.transfers, balances_topic=stamped.balances)
    await stamped.delete(Broker(kafka))
    assert (found.code, found.report["open_periods"]) == (0, None)


async def test_what_would_be_put_aside(check: Check, write: Any, topics: Topics) -> None:
    good = avro.encode_transfer(TRANSFER, TRANSFER_ID)
    for value, key in ((good, b"bob"), (good, None), (b"{}", b"alice"), (None, b"alice"), (good, b"alice")):
        await write("transfers", value, key)
    found = await check("--json")
    assert found.code == 1
    transfers = found.report["topics"][topics.transfers]
    assert (transfers["looked_at"], transfers["newest"]["id"]) == (5, "t-1")
    assert transfers["refused"] == [
        {"reason": "key is not the account id", "records": 2, "first": "0@0"},
        {"reason": "not Confluent-framed", "records": 1, "first": "0@2"},
        {"reason": "no value", "records": 1, "first": "0@3"},
    ]
    words = await check()
    assert "4 of these records would be put aside" in words.out


async def test_values_in_json_and_a_start(check: Check, write: Any, topics: Topics) -> None:
    await write("transfers", JSON.encode_transfer(TRANSFER))
    found = await check("--json", value_format="json", start_from="2999-01-01T00:00:00Z")
    assert found.code == 0
    transfers = found.report["topics"][topics.transfers]
    assert transfers["partitions"]["0"] == {"first": 0, "end": 1, "begin": 1}
    assert transfers["newest"]["id"] == "t-1"


async def test_an_account_that_no_lane_has_whole(check: Check, write: Any) -> None:
    await write("transfers", avro.encode_transfer(TRANSFER, TRANSFER_ID), partition=0)
    await write("balances", avro.encode_balance(BALANCE, BALANCE_ID), partition=1)
    found = await check("--json")
    assert (found.code, found.report["apart"]) == (1, {"alice": [0, 1]})
    assert "write both by the same hash" in (await check()).out


async def test_only_the_newest_are_looked_at(check: Check, write: Any, topics: Topics) -> None:
    for number in range(20):
        named = TRANSFER._replace(id=TransferId(f"t-{number}"))
        await write("transfers", avro.encode_transfer(named, TRANSFER_ID))
    found = await check("--json", "--look-at", str(4 * topics.partitions))
    transfers = found.report["topics"][topics.transfers]
    assert (transfers["looked_at"], transfers["newest"]["id"]) == (4, "t-19")


async def test_topics_that_will_not_do(check: Check, topics: Topics) -> None:
    swapped = await check("--json", transfers_topic=topics.balances, balances_topic=topics.transfers)
    assert swapped.code == 1
    assert "set retention.ms=-1" in swapped.report["unfit"]
    missing = await check(transfers_topic="nowhere")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err.startswith("livebalance: there is no topic nowhere: create it first")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"kafka": "127.0.0.1:1"}, "livebalance: 127.0.0.1:1: "),
        ({"kafka_tls": "true", "kafka_ca": "/nowhere"}, "livebalance: certificates for Kafka: "),
    ],
)
async def test_trouble_is_one_line(check: Check, settings: dict[str, str], line: str) -> None:
    found = await check(**settings)
    assert (found.code, found.out) == (1, "")
    assert found.err.startswith(line)
    assert found.err.count("\n") == 1
