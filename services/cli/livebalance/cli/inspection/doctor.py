"""`livebalance doctor`: asks each server, and names what is wrong and what to do about it."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import asyncpg
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.inspection import diagnosis
from livebalance.cli.inspection.diagnosis import Diagnosis, PartitionOffsets, TopicFacts
from livebalance.cli.options import AsJson
from livebalance.cli.table import print_json, print_table
from livebalance.readmodel.operator.schema_version import newest_migration
from livebalance.readmodel.operator.status_reads import read_server, read_status
from livebalance.readmodel.operator.status_rows import ProjectionStatus
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.runtime.kafka.topics import (
    describe_topics,
    find_lifecycle_topic,
    open_period_warning,
    topics_error,
)
from livebalance.runtime.redis.commands import UNAVAILABLE, execute
from livebalance.runtime.redis.url import RedisUrl

PROBLEMS = 3  # exit code
_TIMEOUT_SECONDS = 60.0  # for each server


class PostgresResult(NamedTuple):
    """What Postgres answered: findings, and the projection if it could be read."""

    findings: list[Diagnosis]
    projection: ProjectionStatus | None


def doctor(as_json: AsJson = False) -> None:
    """Check what the services need: servers, rights, schema, topics, retention, clocks and lanes.

    It changes nothing. It uses the addresses in its environment, which should be those of the services.

    Exit code 0: no error, at most warnings; 3: an error, and each has a hint what to do.
    """
    findings = asyncio.run(diagnose())
    if as_json:
        good = not any(finding.state == "error" for finding in findings)
        print_json({"good": good, "findings": [finding._asdict() for finding in findings]})
    else:
        rows = list[tuple[str, str, str]]()
        for finding in findings:
            rows.append((finding.state, finding.check, finding.text))
            rows += [("", "", f"-> {finding.hint}")] if finding.hint else []
        print_table(("", "check", "finding"), rows)
    raise typer.Exit(PROBLEMS if any(finding.state == "error" for finding in findings) else 0)


async def diagnose() -> list[Diagnosis]:
    """Returns the findings of all servers: Postgres, then Kafka, then Redis."""
    postgres = asyncio.create_task(_ask_postgres())
    redis = asyncio.create_task(_limited("Redis", _ask_redis))
    findings, projection = await postgres
    kafka = await _limited("Kafka", lambda: _ask_kafka(projection))
    return [*findings, *kafka, *await redis]


async def _limited(server: str, ask: Callable[[], Awaitable[list[Diagnosis]]]) -> list[Diagnosis]:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await ask()
    except UserError as error:  # there is no address
        return [Diagnosis(server, "error", *_split(str(error)))]
    except TimeoutError:
        text = f"no answer within {_TIMEOUT_SECONDS:g} s"
        return [Diagnosis(server, "error", text, "is the server overloaded, or a firewall in between?")]


# --- Postgres


async def _ask_postgres() -> PostgresResult:
    read: list[ProjectionStatus] = []

    async def ask() -> list[Diagnosis]:
        return await _read_postgres(addresses.postgres("operator"), read)

    findings = await _limited("Postgres", ask)
    return PostgresResult(findings, read[0] if read else None)


async def _read_postgres(url: str, read: list[ProjectionStatus]) -> list[Diagnosis]:
    try:
        connection = await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
        return [_connection_finding(cause)]
    try:
        began = time.time()
        server = await read_server(connection)
        ended = time.time()
        offset = server.now / 1000 - (began + ended) / 2
        newest = newest_migration()
        findings = list(diagnosis.judge_server(server, newest))
        findings.append(diagnosis.judge_clock("Postgres", offset, (ended - began) / 2))
        findings += diagnosis.judge_services(server)
        if server.migration is None or server.migration < newest or server.missing_rights:
            return findings
        status = await read_status(connection)
        if status:
            read.append(status)
        return findings + list(diagnosis.judge_projection(status, server.now))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
        return [Diagnosis("Postgres", "error", f"a query failed: {_text(cause)}", "see the log of Postgres")]
    finally:
        connection.terminate()


def _connection_finding(cause: Exception) -> Diagnosis:
    if isinstance(cause, asyncpg.InvalidAuthorizationSpecificationError):  # also a wrong password
        hint = "correct user and password in LIVEBALANCE_POSTGRES, or pg_hba.conf"
    elif isinstance(cause, asyncpg.InvalidCatalogNameError):
        hint = "create the database and migrate it, or correct its name in LIVEBALANCE_POSTGRES"
    elif isinstance(cause, asyncpg.TooManyConnectionsError):
        hint = "raise max_connections, or end connections: docs/operations.md"
    elif isinstance(cause, OSError):
        hint = "start Postgres, or correct host and port in LIVEBALANCE_POSTGRES"
    else:
        hint = "see the log of Postgres"
    return Diagnosis("Postgres", "error", f"no connection: {_text(cause)}", hint)


# --- Kafka


async def _ask_kafka(projection: ProjectionStatus | None) -> list[Diagnosis]:
    settings = addresses.kafka()
    try:
        return await _read_kafka(settings, projection)
    except AuthenticationFailedError as cause:
        hint = "correct LIVEBALANCE_KAFKA_USER, _PASSWORD and _SASL_MECHANISM"
        return [Diagnosis("Kafka", "error", f"{settings.kafka}: {_text(cause)}", hint)]
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        text = f"{settings.kafka}: {_text(cause)}"
        return [
            Diagnosis(
                "Kafka", "error", text, "start Kafka, or correct LIVEBALANCE_KAFKA, _TLS and _SASL_MECHANISM"
            )
        ]


async def _read_kafka(settings: ServiceSettings, projection: ProjectionStatus | None) -> list[Diagnosis]:
    names = settings.transfers_topic, settings.balances_topic
    findings, identities = list[Diagnosis](), dict[str, TopicFacts]()
    for name in names:
        try:
            identities[name] = TopicFacts(*(await read_topic_identities(settings.broker, [name]))[name])
        except UnknownTopicOrPartitionError:
            hint = "create it as in deploy/topics.toml, or correct the name in LIVEBALANCE_…_TOPIC"
            findings.append(Diagnosis(name, "error", "this topic does not exist", hint))
        except TopicAuthorizationFailedError:
            hint = "let the user of LIVEBALANCE_KAFKA_USER describe and read it"
            findings.append(Diagnosis(name, "error", "the user may not describe this topic", hint))
    reached = Diagnosis("Kafka", "ok", settings.kafka)
    if len(identities) < len(names):
        return [reached, *findings]
    findings += diagnosis.judge_topics(identities, *names, projection)
    findings += await _retention(settings, identities[names[0]].partitions)
    if projection:
        findings += await _offsets(settings, identities, projection)
    return [reached, *findings]


async def _retention(settings: ServiceSettings, partitions: int) -> list[Diagnosis]:
    source = await describe_topics(settings.broker, settings.transfers_topic, settings.balances_topic)
    findings = list[Diagnosis]()
    if (error := topics_error(source)) and "partitions" not in error:
        findings.append(Diagnosis("retention", "error", *_split(error)))
    elif error is None:
        findings.append(Diagnosis("retention", "ok", "transfers are kept for ever, balances are compacted"))
    if warning := open_period_warning(source):
        findings.append(Diagnosis("timestamps", "warning", *_split(warning)))
    try:
        found = await find_lifecycle_topic(settings.broker, settings.lifecycle_topic, partitions)
    except StartupError as error:
        return [*findings, Diagnosis(settings.lifecycle_topic, "error", *_split(str(error)))]
    if found is None:
        text = "this topic does not exist: openings are derived from balances"
        findings.append(Diagnosis(settings.lifecycle_topic, "warning", text, "docs/your-own-topics.md"))
    return findings


async def _offsets(
    settings: ServiceSettings, identities: dict[str, TopicFacts], projection: ProjectionStatus
) -> list[Diagnosis]:
    consumer = AIOKafkaConsumer(**settings.broker.options, enable_auto_commit=False)
    findings = list[Diagnosis]()
    try:
        await consumer.start()
        for name, column in zip(identities, ("transfers_next", "balances_next"), strict=True):
            partitions = [TopicPartition(name, number) for number in range(identities[name].partitions)]
            firsts = await consumer.beginning_offsets(partitions)
            nexts = await consumer.end_offsets(partitions)
            held = {p.partition: PartitionOffsets(firsts[p], nexts[p]) for p in partitions}
            applied = [(lane.lane, getattr(lane, column)) for lane in projection.lanes]
            findings += diagnosis.judge_offsets(name, held, applied)
    finally:
        await consumer.stop()
    return findings


# --- Redis


async def _ask_redis() -> list[Diagnosis]:
    url = addresses.redis()
    if url is None:
        hint = "set LIVEBALANCE_REDIS, or start the demo (make up)"
        return [Diagnosis("Redis", "error", "no address of Redis", hint)]
    redis = RedisUrl.parse(url)
    findings = list[Diagnosis]()
    for node in redis.nodes:
        address = f"{node.host}:{node.port}"
        try:
            began = time.time()
            seconds, micros = await execute(redis, node, "TIME")
            ended = time.time()
        except UNAVAILABLE as cause:
            findings.append(_redis_finding(address, cause))
            continue
        findings.append(Diagnosis("Redis", "ok", address))
        offset = int(seconds) + int(micros) / 1e6 - (began + ended) / 2
        findings.append(diagnosis.judge_clock("Redis", offset, (ended - began) / 2))
    return findings


def _redis_finding(address: str, cause: Exception) -> Diagnosis:
    text = f"{address}: {_text(cause)}"
    if text.split(": ", 1)[1].startswith(("WRONGPASS", "NOAUTH", "NOPERM")):
        return Diagnosis(
            "Redis", "error", text, "correct user and password in LIVEBALANCE_REDIS, or deploy/redis.acl"
        )
    return Diagnosis("Redis", "error", text, "start Redis, or correct LIVEBALANCE_REDIS")


def _text(cause: Exception) -> str:
    if isinstance(cause, KafkaConnectionError):
        return "no broker answers"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return " ".join(str(cause).split()) or type(cause).__name__


def _split(line: str) -> tuple[str, str]:
    """Splits a line of the form "what is wrong: what to do"."""
    text, _, hint = line.rpartition(": ")
    return (text, hint) if text else (hint, "docs/operations.md")
