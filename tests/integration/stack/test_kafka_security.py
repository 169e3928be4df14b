"""A broker with TLS, SASL and client certificates: the settings of Kafka are enough to read and write."""

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
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.topics import Topics
from tests.servers.kafka_secure import PASSWORD, USER, SecureKafkaServer

TOPICS = Topics("secret-transfers", "secret-balances", 1)


@pytest.fixture(scope="module")
def secure_kafka(paths: StatePaths) -> Iterator[SecureKafkaServer]:
    kafka = SecureKafkaServer(StatePaths(paths.home, paths.state / "secured"))
    kafka.prepare()
    kafka.start()
    try:
        kafka.ready()
        yield kafka
    finally:
        kafka.stop()


def user_settings(kafka: SecureKafkaServer, mechanism: str, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "kafka": kafka.address,
        "kafka_tls": True,
        "kafka_ca": kafka.certificates.authority,
        "kafka_sasl_mechanism": mechanism,
        "kafka_user": USER,
        "kafka_password": password,
    }


def certificate_settings(kafka: SecureKafkaServer) -> dict[str, Any]:
    return {
        "kafka": kafka.certified,
        "kafka_tls": True,
        "kafka_ca": kafka.certificates.authority,
        "kafka_certificate": kafka.certificates.client,
    }


async def write_and_read(broker: Broker, value: bytes) -> list[bytes | None]:
    await TOPICS.create(broker)
    writer = create_producer(broker, "test", f"test-{value.decode()}")
    try:
        await writer.start()
        async with writer.transaction():
            await send_all(writer, [OutgoingRecord(TOPICS.transfers, b"key", value, 0)])
    finally:
        await stop_producer(writer)
    values: list[bytes | None] = []
    await read_range(broker, TopicPartition(TOPICS.transfers, 0), lambda record: values.append(record.value))
    return values


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
async def test_sasl_user_reads_and_writes(secure_kafka: SecureKafkaServer, mechanism: str) -> None:
    settings = ServiceSettings(**user_settings(secure_kafka, mechanism))
    assert (await write_and_read(settings.broker, mechanism.encode()))[-1] == mechanism.encode()


async def test_client_with_a_certificate_reads_and_writes(secure_kafka: SecureKafkaServer) -> None:
    settings = ServiceSettings(**certificate_settings(secure_kafka))
    assert (await write_and_read(settings.broker, b"certified"))[-1] == b"certified"


async def test_sasl_user_reads_topic_identities(secure_kafka: SecureKafkaServer) -> None:
    broker = ServiceSettings(**user_settings(secure_kafka, "SCRAM-SHA-512")).broker
    await TOPICS.create(broker)
    [identity] = (await read_topic_identities(broker, [TOPICS.transfers])).values()
    assert identity.id is not None


async def test_other_clients_are_refused(secure_kafka: SecureKafkaServer) -> None:
    valid = user_settings(secure_kafka, "SCRAM-SHA-512")
    for settings in (
        {**valid, "kafka_password": "guessed"},
        {**valid, "kafka_ca": None},  # the system's authorities did not sign the certificate
        {"kafka": secure_kafka.address},
        {**certificate_settings(secure_kafka), "kafka_certificate": None},
    ):
        writer = create_producer(ServiceSettings(**settings).broker, "stranger", None)
        try:
            with pytest.raises((KafkaError, OSError, TimeoutError)):
                await writer.start()
        finally:
            await stop_producer(writer)


def test_contradictory_settings_are_refused(tmp_path: Path) -> None:
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
