"""`livebalance produce` while Kafka fails: one error line, within the deadline, with correct counts."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.paths import StatePaths
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.integration.cli.command_line import start_command, wait_for_command
from tests.integration.recorder.topic_records import read_records, wait_until
from tests.servers.disposable import disposable_servers

TOPICS = Topics(partitions=3)


@pytest.fixture
def servers(paths: StatePaths, tmp_path: Path) -> Iterator[Servers]:
    with disposable_servers(StatePaths(paths.home, tmp_path), "kafka") as servers:
        yield servers


def broker(servers: Servers) -> ChildProcess:
    return servers.embedded["kafka"].child


async def count_records(kafka: str) -> int:
    return len(await read_records(kafka, TOPICS.transfers, TOPICS.partitions))


async def start_random(servers: Servers, *options: str) -> asyncio.subprocess.Process:
    """Starts the command, and waits until it has written records."""
    await TOPICS.create(Broker(servers.kafka))
    environment = {"LIVEBALANCE_KAFKA": servers.kafka, "TERM": "dumb"}
    process = await start_command(environment, "produce", "--random", *options)

    async def has_written() -> bool:
        return await count_records(servers.kafka) > 0

    await wait_until(has_written)
    return process


async def test_interrupted_command_reports_unacknowledged_records_if_kafka_hangs(servers: Servers) -> None:
    process = await start_random(servers, "--rate", "0", "--json")
    broker(servers).send(signal.SIGSTOP)
    try:
        process.send_signal(signal.SIGINT)
        result = await asyncio.wait_for(wait_for_command(process), 30)
    finally:
        broker(servers).send(signal.SIGCONT)
    assert (result.code, result.err) == (130, "")
    report = json.loads(result.out)
    assert report["stopped"]
    count = await count_records(servers.kafka)
    assert report["written"] <= count <= report["written"] + report["unacknowledged"]


async def test_killed_broker_gives_one_error_line(servers: Servers) -> None:
    process = await start_random(servers, "--rate", "200")
    broker(servers).kill()
    result = await wait_for_command(process)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"livebalance: Kafka at {servers.kafka}: ")
    assert " written, up to " in result.err
    assert result.err.count("\n") == 1
