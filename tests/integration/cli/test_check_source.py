"""`livebalance check source`, with a real broker."""

import json
import re
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
from tests.integration.cli.command_line import run_command
from tests.servers.topics import delete_topics

A = AccountId("alice")
TRANSFER = Transfer(TransferId("t-1"), A, Money(-1250, 2), 1_795_000_000_000)
BALANCE = Balance(A, "client", TransferId("t-1"), Money(8750, 2), 1)


class CheckResult(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        return json.loads(self.out)


Check = Callable[..., Awaitable[CheckResult]]


@pytest.fixture
def check(kafka: str, topics: Topics) -> Check:
    async def run(*words: str, **settings: str) -> CheckResult:
        environment = {
            "LIVEBALANCE_KAFKA": kafka,
            "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
            "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
            **{f"LIVEBALANCE_{name.upper()}": value for name, value in settings.items()},
            "COLUMNS": "100",
        }
        return CheckResult(*await run_command(environment, "check", "source", *words))

    return run


@pytest.fixture
async def write(kafka: str, topics: Topics) -> Any:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()

    async def send(topic: str, value: bytes | None, key: bytes | None = b"alice", partition: int = 0) -> None:
        await producer.send_and_wait(getattr(topics, topic), value, key, partition)

    yield send
    await producer.stop()


async def test_suitable_topics_are_accepted(check: Check, write: Any, topics: Topics) -> None:
    await write("transfers", avro.encode_transfer(TRANSFER, TRANSFER_ID))
    await write("balances", avro.encode_balance(BALANCE, BALANCE_ID))
    await write("balances", None, b"bob")
    result = await check("--json")
    assert (result.code, result.err) == (0, "")
    transfers, balances = (result.report["topics"][name] for name in (topics.transfers, topics.balances))
    assert result.report["good"]
    assert len(transfers["partitions"]) == topics.partitions
    assert transfers["partitions"]["0"] == {"first": 0, "next": 1, "start": 0}
    assert transfers["settings"]["retention.ms"] == "-1"
    assert transfers["newest"]["amount"] == "-12.50"
    assert (balances["records"], balances["erasures"], balances["newest"]["version"]) == (2, 1, 1)
    text = await check()
    assert text.code == 0
    assert "amount=-12.50" in text.out
    assert "A projection can be built" in text.out


async def test_times_from_producers_give_a_warning(
    check: Check, kafka: str, topics: Topics, tmp_path: Path
) -> None:
    result = await check("--json")
    assert result.report["open_period_warning"].startswith(
        f"{topics.transfers} has message.timestamp.type=CreateTime"
    )
    assert result.code == 0
    assert result.report["open_period_warning"] in (await check()).out
    rules = tmp_path / "topics.toml"
    rules.write_text(
        re.sub(r"(\[.*\]\n)", r'\1"message.timestamp.type" = "LogAppendTime"\n', RULES.read_text())
    )
    stamped = Topics(f"{topics.transfers}-stamped", f"{topics.balances}-stamped", 1)
    await stamped.create(Broker(kafka), rules)
    result = await check("--json", transfers_topic=stamped.transfers, balances_topic=stamped.balances)
    await delete_topics(stamped, Broker(kafka))
    assert (result.code, result.report["open_period_warning"]) == (0, None)


async def test_records_that_would_be_quarantined_are_listed(check: Check, write: Any, topics: Topics) -> None:
    good = avro.encode_transfer(TRANSFER, TRANSFER_ID)
    for value, key in ((good, b"bob"), (good, None), (b"{}", b"alice"), (None, b"alice"), (good, b"alice")):
        await write("transfers", value, key)
    result = await check("--json")
    assert result.code == 1
    transfers = result.report["topics"][topics.transfers]
    assert (transfers["records"], transfers["newest"]["id"]) == (5, "t-1")
    assert transfers["rejected"] == [
        {"reason": "key is not the account id", "records": 2, "first": "0@0"},
        {"reason": "not Confluent-framed", "records": 1, "first": "0@2"},
        {"reason": "no value", "records": 1, "first": "0@3"},
    ]
    text = await check()
    assert "4 of these records would be quarantined" in text.out


async def test_json_values_are_decoded_and_start_offsets_are_shown(
    check: Check, write: Any, topics: Topics
) -> None:
    await write("transfers", JSON.encode_transfer(TRANSFER))
    result = await check("--json", value_format="json", start_from="2999-01-01T00:00:00Z")
    assert result.code == 0
    transfers = result.report["topics"][topics.transfers]
    assert transfers["partitions"]["0"] == {"first": 0, "next": 1, "start": 1}
    assert transfers["newest"]["id"] == "t-1"


async def test_account_on_two_partitions_is_reported(check: Check, write: Any) -> None:
    await write("transfers", avro.encode_transfer(TRANSFER, TRANSFER_ID), partition=0)
    await write("balances", avro.encode_balance(BALANCE, BALANCE_ID), partition=1)
    result = await check("--json")
    assert (result.code, result.report["split_accounts"]) == (1, {"alice": [0, 1]})
    assert "must hash the key in the same way" in (await check()).out


async def test_only_the_newest_records_are_decoded(check: Check, write: Any, topics: Topics) -> None:
    for number in range(20):
        transfer = TRANSFER._replace(id=TransferId(f"t-{number}"))
        await write("transfers", avro.encode_transfer(transfer, TRANSFER_ID))
    result = await check("--json", "--records", str(4 * topics.partitions))
    transfers = result.report["topics"][topics.transfers]
    assert (transfers["records"], transfers["newest"]["id"]) == (4, "t-19")


async def test_unsuitable_topics_are_refused(check: Check, topics: Topics) -> None:
    swapped = await check("--json", transfers_topic=topics.balances, balances_topic=topics.transfers)
    assert swapped.code == 1
    assert "set retention.ms=-1" in swapped.report["topics_error"]
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
async def test_error_is_one_line(check: Check, settings: dict[str, str], line: str) -> None:
    result = await check(**settings)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(line)
    assert result.err.count("\n") == 1
