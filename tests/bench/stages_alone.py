"""Throughput of the feed, of a recorder and of a projector, one after another on the same records.

`python -m tests.bench.stages_alone [--records 100000] [--accounts 1000] [--rounds 3]`

In each round the feed writes transfers as fast as it can, with and without Kafka transactions, to topics of
its own. Then a recorder reads those without transactions, and a projector reads both topics. Kafka, Postgres
(fsync on) and Redis are real, and each service is a process of its own. The recorder and the projector are
measured from their first commit on. A projector that applies 2 records per second keeps 1 transfer per second
of the feed and 1 balance per second of the recorder up to date.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from livebalance.runtime import logs
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.bench.bench_servers import run_on_servers
from tests.bench.process_cpu import cpu_seconds
from tests.bench.projection_turns import Run, Side, run_projector
from tests.integration.projector.pipeline import Pipeline
from tests.integration.recorder.recorder_process import recorder_process, settings
from tests.servers.database import Database

_LIMIT_SECONDS = 60.0  # of each run


@dataclass(frozen=True)
class Round:
    """The topics and the database of a round, and how much the feed writes."""

    servers: Servers
    directory: Path
    number: int
    records: int
    accounts: int

    def topics(self, name: str) -> Topics:
        return Topics(f"transfers-{name}-{self.number}", f"balances-{name}-{self.number}")

    async def run(self) -> dict[str, Run]:
        """Returns the run of each service."""
        topics, transactional = self.topics("plain"), self.topics("transactional")
        for each in (topics, transactional):
            await each.create(Broker(self.servers.kafka))
        database = Database(self.servers.postgres, f"alone_{self.number}")
        await database.create()
        pipeline = Pipeline(
            self.servers.kafka, topics, database, self.servers.redis(), f"{self.number}:", self.directory
        )
        group, total = f"projector-{self.number}", 2 * self.records + self.accounts
        runs = {
            "feed, in transactions": await self.feed(transactional),
            "feed": await self.feed(topics, "--no-transactions"),
            "recorder": await self.recorder(topics, database),
            "projector": await run_projector(
                pipeline, Side("projector", Path.cwd()), total, _LIMIT_SECONDS, group
            ),
        }
        await database.drop()
        return runs

    async def feed(self, topics: Topics, *options: str) -> Run:
        """Runs a feed until it has written all its transfers, after it has opened the accounts."""
        arguments = ["--accounts", self.accounts, "--rate", "max", "--limit", self.records // 2, "--json"]
        environment = bare_environment() | {
            "LIVEBALANCE_KAFKA": self.servers.kafka,
            "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
            "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
        }
        command = [sys.executable, "-m", "livebalance.feed", *map(str, arguments), *options]
        child = ChildProcess("feed", command, self.directory / "feed.log", environment)
        child.start()
        assert child.pid is not None, child.tail()
        process, cpu = psutil.Process(child.pid), 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                cpu = sum(process.cpu_times()[:2])
                await asyncio.sleep(0.02)
        assert child.exit_code == 0, child.tail()
        report = json.loads(next(line for line in reversed(child.tail()) if '"run"' in line))
        return Run(report["records"], report["seconds"], cpu)

    async def recorder(self, topics: Topics, database: Database) -> Run:
        """Runs a recorder until it has recorded all transfers."""
        recorder_settings = settings(self.servers.kafka, topics, database)
        child = recorder_process(recorder_settings, self.directory / "recorder.log")
        async with committed_records(self.servers.kafka, recorder_settings.recorder_group) as committed:
            child.start()
            try:
                first = await wait_until(committed, 1)
                assert child.pid is not None, child.tail()
                start, cpu = time.monotonic(), cpu_seconds([child.pid])
                last = await wait_until(committed, self.records)
                seconds, used = time.monotonic() - start, cpu_seconds([child.pid]) - cpu
            finally:
                await asyncio.to_thread(child.stop)
        return Run(last - first, seconds, used)


@contextlib.asynccontextmanager
async def committed_records(kafka: str, group: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Yields a function that returns the sum of a group's offsets. They begin at 0."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()

    async def read() -> int:
        with contextlib.suppress(GroupCoordinatorNotAvailableError):  # before the first recorder joins
            offsets = await admin.list_consumer_group_offsets(group)
            return sum(max(0, offset.offset) for offset in offsets.values())
        return 0

    try:
        yield read
    finally:
        await admin.close()


async def wait_until(read: Callable[[], Awaitable[int]], count: int) -> int:
    """Waits until at least `count` records are committed, and returns how many are."""
    async with asyncio.timeout(_LIMIT_SECONDS):
        while (committed := await read()) < count:  # noqa: ASYNC110 - Kafka has no event
            await asyncio.sleep(0.02)
    return committed


async def benchmark(servers: Servers, directory: Path, arguments: argparse.Namespace) -> None:
    rounds = [
        await Round(servers, directory, number, arguments.records, arguments.accounts).run()
        for number in range(arguments.rounds + 1)
    ][1:]  # the first warms the servers
    print(f"\n{len(rounds)} rounds, {arguments.accounts} accounts, each service alone, medians and range")
    print(f"{'':24} {'records/s':>9} {'':>20} {'CPU µs/record':>14}")
    for name in rounds[0]:
        rates = sorted(runs[name].rate for runs in rounds)
        cpu = statistics.median(runs[name].cpu / runs[name].records * 1e6 for runs in rounds)
        print(f"{name:24} {statistics.median(rates):9,.0f} {rates[0]:9,.0f} to{rates[-1]:9,.0f} {cpu:13.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="transfer records of a round (100000)")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logs.configure("bench", "text", "ERROR")
    with tempfile.TemporaryDirectory() as directory:
        run_on_servers(
            lambda servers: benchmark(servers, Path(directory), arguments),
            "kafka",
            "postgres",
            "redis",
            durable=True,
        )


if __name__ == "__main__":
    main()
