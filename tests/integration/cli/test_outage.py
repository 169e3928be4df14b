"""Kafka goes while transfers are written: it is told once, in time, and what is said of them is true."""

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
from tests.integration.cli.operator import heard, typing
from tests.integration.recorder.topic_records import read_records, wait_until
from tests.servers.disposable import disposable_servers

TOPICS = Topics(partitions=3)


@pytest.fixture
def own(paths: StatePaths, tmp_path: Path) -> Iterator[Servers]:
    with disposable_servers(StatePaths(paths.home, tmp_path), "kafka") as servers:
        yield servers


def broker(own: Servers) -> ChildProcess:
    return own.embedded["kafka"].child


async def count(kafka: str) -> int:
    return len(await read_records(kafka, TOPICS.transfers, TOPICS.partitions))


async def random(own: Servers, *more: str) -> asyncio.subprocess.Process:
    """It runs, and has written something."""
    await TOPICS.create(Broker(own.kafka))
    environment = {"LIVEBALANCE_KAFKA": own.kafka, "TERM": "dumb"}
    process = await typing(environment, "produce", "--random", *more)

    async def some() -> bool:
        return await count(own.kafka) > 0

    await wait_until(some)
    return process


async def test_told_to_stop_while_kafka_hangs_it_ends_and_says_what_is_not_known(own: Servers) -> None:
    process = await random(own, "--rate", "0", "--json")
    broker(own).send(signal.SIGSTOP)
    try:
        process.send_signal(signal.SIGINT)
        done = await asyncio.wait_for(heard(process), 20)
    finally:
        broker(own).send(signal.SIGCONT)
    assert (done.code, done.err) == (130, "")
    told = json.loads(done.out)
    assert told["stopped"]
    assert told["written"] <= await count(own.kafka) <= told["written"] + told["doubtful"]


async def test_a_broker_that_is_gone_is_one_line(own: Servers) -> None:
    process = await random(own, "--rate", "200")
    broker(own).kill()
    done = await heard(process)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"livebalance: Kafka at {own.kafka}: ")
    assert " written, and up to " in done.err
    assert done.err.count("\n") == 1
