"""A broker that lets in who may: what the settings say of Kafka is enough to read and write there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.producer import OutgoingRecord, create_producer, send_all, stop_producer
from livebalance.runtime.kafka.reader import read_range
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.topics import Topics
from tests.servers.kafka_secure import PASSWORD, USER, SecureKafkaServer

TOPICS = Topics("secret-transfers", "secret-balances", 1)


@pytest.fixture(scope="module")
def secured(paths: StatePaths) -> Iterator[SecureKafkaServer]:
    kafka = SecureKafkaServer(StatePaths(paths.home, paths.state / "secured"))
    kafka.prepare()
    kafka.start()
    try:
        kafka.ready()
        yield kafka
    finally:
        kafka.stop()


def of_user(kafka: SecureKafkaServer, mechanism: str, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "kafka": kafka.address,
        "kafka_tls": True,
        "kafka_ca": kafka.papers.authority,
        "kafka_sasl_mechanism": mechanism,
        "kafka_user": USER,
        "kafka_password": password,
    }


def of_certificate(kafka: SecureKafkaServer) -> dict[str, Any]:
    return {
        "kafka": kafka.certified,
        "kafka_tls": True,
        "kafka_ca": kafka.papers.authority,
        "kafka_certificate": kafka.papers.client,
    }


async def there_and_back(broker: Broker, word: bytes) -> list[bytes | None]:
    await TOPICS.create(broker)
    writer = create_producer(broker, "test", f"test-{word.decode()}")
    try:
        await writer.start()
        async with writer.transaction():
            await send_all(writer, [OutgoingRecord(TOPICS.transfers, b"key", word, 0)])
    finally:
        await stop_producer(writer)
    found: list[bytes | None] = []
    await read_range(broker, TopicPartition(TOPICS.transfers, 0), lambda one: found.append(one.value))
    return found


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
async def test_a_user_reads_and_writes(secured: SecureKafkaServer, mechanism: str) -> None:
    settings = ServiceSettings(**of_user(secured, mechanism))
    assert (await there_and_back(settings.broker, mechanism.encode()))[-1] == mechanism.encode()


async def test_a_certificate_reads_and_writes(secured: SecureKafkaServer) -> None:
    settings = ServiceSettings(**of_certificate(secured))
    assert (await there_and_back(settings.broker, b"certified"))[-1] == b"certified"


async def test_nobody_else_does(secured: SecureKafkaServer) -> None:
    known = of_user(secured, "SCRAM-SHA-512")
    for stranger in (
        {**known, "kafka_password": "guessed"},
        {**known, "kafka_ca": None},  # whom this system trusts did not vouch for it
        {"kafka": secured.address},
        {**of_certificate(secured), "kafka_certificate": None},
    ):
        writer = create_producer(ServiceSettings(**stranger).broker, "stranger", None)
        try:
            with pytest.raises((KafkaError, OSError, TimeoutError)):
                await writer.start()
        finally:
            await stop_producer(writer)


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    for settings in (
        {"kafka_ca": tmp_path / "ca.pem"},
        {"kafka_sasl_mechanism": "PLAIN"},
        {"kafka_user": "somebody"},
        {"kafka_sasl_mechanism": "GSSAPI", "kafka_user": "somebody"},
    ):
        with pytest.raises(ValueError, match="kafka_"):
            ServiceSettings(**settings)
    (tmp_path / "ca.pem").write_text("no certificate")
    for missing in (tmp_path / "nothing.pem", tmp_path / "ca.pem"):
        with pytest.raises(StartupError, match="certificates for Kafka"):
            _ = ServiceSettings(kafka_tls=True, kafka_ca=missing).broker
