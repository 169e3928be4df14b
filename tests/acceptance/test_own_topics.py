"""Runs the commands of docs/your-own-topics.md: Kafka with TLS and SCRAM, a registry, topics of its own."""

import asyncio
import io
import json
import os
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fastavro
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.schema.http_registry import HttpRegistry
from livebalance.stack.paths import PROJECT, StatePaths
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import SchemaId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from tests.integration.runtime.registry_server import RegistryServer, running
from tests.servers.kafka_secure import PASSWORD, USER, SecureKafkaServer

GUIDE = PROJECT / "docs" / "your-own-topics.md"
TOPICS = Topics("payments.transfers", "payments.balances", 3)
TIMEOUT = 240.0  # seconds for all commands; the page may have to be built
ALICE = AccountId("alice")
_PARTITIONS = [
    TopicPartition(topic, number) for topic in (TOPICS.transfers, TOPICS.balances) for number in range(3)
]


def commands() -> list[str]:
    """Returns the shell blocks of the guide, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


async def produce(broker: Broker, registry: RegistryServer) -> None:
    """Produces like a system without Livebalance, whose schema of transfers has got another field."""
    schema = json.loads(avro.TRANSFER_SCHEMA_TEXT)
    schema["fields"].append({"name": "note", "type": ["null", "string"], "default": None})
    schema_id = SchemaId(registry.add(schema=json.dumps(schema)))
    http_registry = HttpRegistry(registry.url)
    await http_registry.register(TOPICS.balances, "balance")
    amounts, total = [1250, -200], 0
    await TOPICS.create(broker)
    async with AIOKafkaProducer(**broker.options, acks="all") as producer:
        balance = Balance(ALICE, "client", TransferId(""), Money(0, 2), 0)
        values = [(TOPICS.balances, avro.encode_balance(balance, http_registry.own_id("balance")))]
        for number, amount in enumerate(amounts, 1):
            total += amount
            id_ = TransferId(f"p-{number}")
            transfer = Transfer(id_, ALICE, Money(amount, 2), 1_795_000_000_000 + number)
            values.append((TOPICS.transfers, encode_with_note(schema_id, schema, transfer)))
            balance = Balance(ALICE, "client", id_, Money(total, 2), number)
            values.append((TOPICS.balances, avro.encode_balance(balance, http_registry.own_id("balance"))))
        for topic, value in values:
            await producer.send_and_wait(topic, value, ALICE.encode())


def encode_with_note(id_: SchemaId, schema: dict[str, Any], transfer: Transfer) -> bytes:
    body = io.BytesIO()
    fields = {**avro.transfer_fields(transfer), "note": "rent"}
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), fields)
    return b"\0" + id_.to_bytes(4, "big") + body.getvalue()


async def end_offsets(broker: Broker) -> dict[TopicPartition, int]:
    async with AIOKafkaConsumer(**broker.options, enable_auto_commit=False) as consumer:
        return dict(await consumer.end_offsets(_PARTITIONS))


@asynccontextmanager
async def secure_kafka(paths: StatePaths) -> AsyncIterator[SecureKafkaServer]:
    kafka = SecureKafkaServer(StatePaths(paths.home, paths.state / "theirs"))
    await asyncio.to_thread(kafka.prepare)
    kafka.start()
    try:
        await asyncio.to_thread(kafka.ready)
        yield kafka
    finally:
        await asyncio.to_thread(kafka.stop)


async def run_shell(text: str, environment: dict[str, str]) -> str:
    """Runs shell commands, and returns what they print. If they fail, the AssertionError has all of it."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", text),
        cwd=PROJECT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.timeout(2 * TIMEOUT)
async def test_guide_for_own_topics_followed_literally_shows_the_balance(paths: StatePaths) -> None:
    registry = RegistryServer()
    async with secure_kafka(paths) as kafka, running(registry):
        broker = kafka.user_broker()
        await produce(broker, registry)
        before = await end_offsets(broker)
        examples = {
            "broker.example:9093": kafka.address,
            "/etc/livebalance/ca.pem": shlex.quote(str(kafka.certificates.authority)),
            "https://registry.example ": f"{registry.url} ",
            "=livebalance\n": f"={USER}\n",
            "the-password": PASSWORD,
        }
        settings, check, start, query, stop = commands()
        for example, actual in examples.items():
            assert example in settings
            settings = settings.replace(example, actual)
        environment = {
            **os.environ,
            "LIVEBALANCE_STATE_DIRECTORY": str(paths.state / "home"),
            "COLUMNS": "120",
        }
        assert "A projection can be built from these topics." in await run_shell(
            settings + check, environment
        )
        try:
            assert kafka.address in await run_shell(settings + start, environment)
            output = await run_shell(settings + query, environment)
        finally:
            await run_shell(settings + stop, environment)
        account = json.loads(output.splitlines()[-1])  # after an error for each time that curl asked again
        balance = account["balance"]
        assert (account["revision"], balance["amount"], balance["drift"]) == (5, "10.50", "0.00")
        assert balance["currency"] == "EUR"
        transfers = [(transfer["id"], transfer["amount"]) for transfer in account["transfers"]]
        assert transfers == [("p-2", "-2.00"), ("p-1", "12.50")]
        assert await end_offsets(broker) == before  # Livebalance has written nothing to these topics
