"""docs/your-own-topics.md to the letter: a cluster with TLS and SCRAM, a registry, topics of its own."""

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
WITHIN = 240.0  # seconds for all of it; the page may have to be built
ALICE = AccountId("alice")
_THERE = [TopicPartition(name, number) for name in (TOPICS.transfers, TOPICS.balances) for number in range(3)]


def commands() -> list[str]:
    """The blocks that a reader types, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


async def write(broker: Broker, registry: RegistryServer) -> None:
    """As a system does that knows nothing of us, and whose schema of transfers has grown meanwhile."""
    later = json.loads(avro.TRANSFER_SCHEMA_TEXT)
    later["fields"].append({"name": "note", "type": ["null", "string"], "default": None})
    grown = SchemaId(registry.add(schema=json.dumps(later)))
    known = HttpRegistry(registry.url)
    await known.register(TOPICS.balances, "balance")
    amounts, shown = [1250, -200], 0
    await TOPICS.create(broker)
    async with AIOKafkaProducer(**broker.options, acks="all") as producer:
        balance = Balance(ALICE, "client", TransferId(""), Money(0, 2), 0)
        values = [(TOPICS.balances, avro.encode_balance(balance, known.own_id("balance")))]
        for number, amount in enumerate(amounts, 1):
            shown += amount
            id_ = TransferId(f"p-{number}")
            transfer = Transfer(id_, ALICE, Money(amount, 2), 1_795_000_000_000 + number)
            values.append((TOPICS.transfers, framed(grown, later, transfer)))
            balance = Balance(ALICE, "client", id_, Money(shown, 2), number)
            values.append((TOPICS.balances, avro.encode_balance(balance, known.own_id("balance"))))
        for topic, value in values:
            await producer.send_and_wait(topic, value, ALICE.encode())


def framed(id_: SchemaId, schema: dict[str, Any], transfer: Transfer) -> bytes:
    body = io.BytesIO()
    fields = {**avro.transfer_fields(transfer), "note": "rent"}
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), fields)
    return b"\0" + id_.to_bytes(4, "big") + body.getvalue()


async def ends(broker: Broker) -> dict[TopicPartition, int]:
    async with AIOKafkaConsumer(**broker.options, enable_auto_commit=False) as consumer:
        return dict(await consumer.end_offsets(_THERE))


@asynccontextmanager
async def secured(paths: StatePaths) -> AsyncIterator[SecureKafkaServer]:
    kafka = SecureKafkaServer(StatePaths(paths.home, paths.state / "theirs"))
    await asyncio.to_thread(kafka.prepare)
    kafka.start()
    try:
        await asyncio.to_thread(kafka.ready)
        yield kafka
    finally:
        await asyncio.to_thread(kafka.stop)


async def typed(text: str, environment: dict[str, str]) -> str:
    """What a reader sees who types this; an error is shown whole."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", text),
        cwd=PROJECT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), WITHIN)
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.timeout(2 * WITHIN)
async def test_the_guide_to_the_letter(paths: StatePaths) -> None:
    registry = RegistryServer()
    async with secured(paths) as kafka, running(registry):
        broker = kafka.of_user()
        await write(broker, registry)
        before = await ends(broker)
        theirs = {
            "broker.example:9093": kafka.address,
            "/etc/livebalance/ca.pem": shlex.quote(str(kafka.papers.authority)),
            "https://registry.example ": f"{registry.url} ",
            "=livebalance\n": f"={USER}\n",
            "the-password": PASSWORD,
        }
        told, look, build, ask, stop = commands()
        for example, real in theirs.items():
            assert example in told
            told = told.replace(example, real)
        environment = {
            **os.environ,
            "LIVEBALANCE_STATE_DIRECTORY": str(paths.state / "home"),
            "COLUMNS": "120",
        }
        assert "A projection can be built from these topics." in await typed(told + look, environment)
        try:
            assert kafka.address in await typed(told + build, environment)
            answer = await typed(told + ask, environment)
        finally:
            await typed(told + stop, environment)
        shown = json.loads(answer)
        balance = shown["balance"]
        assert (shown["revision"], balance["amount"], balance["drift"]) == (5, "10.50", "0.00")
        assert balance["currency"] == "EUR"
        listed = [(one["id"], one["amount"]) for one in shown["transfers"]]
        assert listed == [("p-2", "-2.00"), ("p-1", "12.50")]
        assert await ends(broker) == before  # nothing of ours stands in their topics
