"""Throughput of one projector and its CPU time per record: in batches, row by row, a transaction per record.

`python -m tests.bench.projection [--records 100000] [--accounts 1000] [--seconds 20]`

Each variant runs in this process on real Kafka and Postgres (fsync on), from topics that were filled before.
A variant that does not finish is stopped after `--seconds`. Every variant stores offsets in its transaction.

`python -m tests.bench.projection --rounds 5 [--against PATH-OF-A-CHECKOUT]`

Instead, the projector of this checkout, that of another checkout if any, and the ceiling run in turns. Each
projector is a process in the environment of its checkout (`make .livebalance/venv/ready`).

`--sets 100` adds a turn of this checkout in which so many sets are followed, and each account is in one of
them. If they are more than the accounts, the sets of all prefixes of the accounts are.
"""

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from livebalance.projector import metrics
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.projection import batch_writes
from livebalance.readmodel.rows import BatchRows
from livebalance.runtime import logs
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka.record import Balance, Transfer
from tests.bench.bench_servers import run_on_servers
from tests.bench.projection_turns import Run, Side, copy_rows, print_turns, run_projector
from tests.integration.projector.pipeline import Pipeline, history
from tests.servers.database import Database

Patch = contextlib.AbstractContextManager[object]


@dataclass(frozen=True)
class Variant:
    """A way to write batches of `batch_records`. `patch` changes the projector while the variant runs."""

    name: str
    batch_records: int
    patch: Callable[[], Patch] = contextlib.nullcontext


@dataclass(frozen=True)
class Result:
    records: int
    seconds: float
    cpu: float  # seconds of this process

    @property
    def rate(self) -> float:
        return self.records / self.seconds


def row_by_row() -> Patch:
    """Patches the projector to execute the statement of a batch once for each row."""
    write = batch_writes.write_batch

    async def write_rows(connection: Connection, topic: str, batch: BatchRows) -> batch_writes.WriteResult:
        single_rows = [BatchRows(moves=batch.moves, erased=batch.erased)]
        single_rows += [BatchRows(balances=[row]) for row in batch.balances]
        single_rows += [BatchRows(transfers=[row]) for row in batch.transfers]
        results = [await write(connection, topic, row) for row in single_rows]
        return batch_writes.WriteResult(*map(sum, zip(*results, strict=True)))

    return mock.patch.object(batch_writes, "write_batch", write_rows)


VARIANTS = [
    Variant("batches of 2,000, by unnest", 2000),
    Variant("batches of 2,000, row by row", 2000, row_by_row),
    Variant("a transaction per record", 1),
]


def make_records(count: int, accounts: int) -> list[Transfer | Balance]:
    """Returns records of all accounts in turn."""
    transfers_per_account = max(1, count // 2 // accounts)
    histories = [
        history(
            f"account-{number:05d}",
            [(step * 7919 + number) % 2001 - 1000 for step in range(transfers_per_account)],
        )
        for number in range(accounts)
    ]
    return [record for turn in zip(*histories, strict=True) for record in turn]


def followed_sets(records: list[Transfer | Balance], count: int) -> list[str]:
    """Returns the channels of `count` prefixes, or of all prefixes of the accounts."""
    accounts = {record.account for record in records}
    longest = max(map(len, accounts))
    levels = [sorted({account[:length] for account in accounts}) for length in range(longest + 1)]
    level = next((prefixes for prefixes in levels if len(prefixes) >= count), None)
    if level is None:
        level = sorted({prefix for prefixes in levels for prefix in prefixes})
    return [f"prefix:{prefix}" for prefix in level]


def _applied() -> float:
    return float(metrics.records_applied._value.get())


async def measure(pipeline: Pipeline, variant: Variant, total: int, seconds: float) -> Result:
    """Runs a projector, and measures it from its first committed batch on."""
    before = _applied()
    with variant.patch():
        async with pipeline.running(projector_group=variant.name, batch_records=variant.batch_records):
            while _applied() == before:  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(0.001)
            first, start, cpu = _applied(), time.monotonic(), time.process_time()
            end = start + seconds
            while (applied := _applied() - before) < total and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            records = int(applied + before - first)
            return Result(records, time.monotonic() - start, time.process_time() - cpu)


@contextlib.asynccontextmanager
async def new_database(servers: Servers, name: str) -> AsyncIterator[Database]:
    database = Database(servers.postgres, name)
    await database.create()
    yield database
    await database.drop()


async def take_turns(servers: Servers, directory: Path, arguments: argparse.Namespace) -> None:
    """Runs the projectors of the checkouts in turns, in every second round in reverse, then COPY.

    The first round warms the servers and is left out.
    """
    topics, records = Topics(), make_records(arguments.records, arguments.accounts)
    await topics.create(Broker(servers.kafka))
    sides = [
        Side("this checkout", Path.cwd()),
        *(Side(path.name, path) for path in arguments.against),
        *(Side(f"{count} sets", Path.cwd(), followed_sets(records, count)) for count in arguments.sets),
    ]
    rounds: list[list[Run]] = []
    for number in range(arguments.rounds + 1):
        runs: dict[int, Run] = {}
        for index in range(len(sides))[:: -1 if number % 2 else 1]:
            group = f"bench_{number}_{index}"
            async with new_database(servers, group) as database:
                pipeline = Pipeline(servers.kafka, topics, database, servers.redis(), "bench:", directory)
                if number == index == 0:
                    await pipeline.write(records)
                runs[index] = await run_projector(
                    pipeline, sides[index], len(records), arguments.seconds, group
                )
                if len(runs) == len(sides):
                    runs[len(sides)] = await copy_rows(pipeline, len(records), 2000)
        rounds.append([runs[index] for index in sorted(runs)])
    names = [*(side.name for side in sides), "COPY alone"]
    print_turns(names, rounds[1:], arguments.accounts)


async def benchmark(servers: Servers, count: int, accounts: int, seconds: float) -> None:
    topics = Topics()
    await topics.create(Broker(servers.kafka))
    records = make_records(count, accounts)
    results: list[Result] = []
    for number, variant in enumerate(VARIANTS):
        async with new_database(servers, f"bench_{number}") as database:
            pipeline = Pipeline(servers.kafka, topics, database, servers.redis(), "bench:", Path())
            if number == 0:
                await pipeline.write(records)
            results.append(await measure(pipeline, variant, len(records), seconds))
    print(f"\n{len(records)} records of {accounts} accounts, {topics.partitions} lanes, one projector")
    print(f"{'':32} {'records/s':>9} {'CPU µs/record':>14} {'times slower':>13}")
    for variant, result in zip(VARIANTS, results, strict=True):
        print(
            f"{variant.name:32} {result.rate:9,.0f} {result.cpu / result.records * 1e6:14.1f}"
            f" {results[0].rate / result.rate:13.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--against", type=Path, action="append", default=[])
    parser.add_argument("--sets", type=int, action="append", default=[])
    arguments = parser.parse_args()
    logs.configure("bench", "text", "ERROR")
    with tempfile.TemporaryDirectory() as directory:
        run_on_servers(
            lambda servers: (
                take_turns(servers, Path(directory), arguments)
                if arguments.rounds
                else benchmark(servers, arguments.records, arguments.accounts, arguments.seconds)
            ),
            "kafka",
            "postgres",
            "redis",
            durable=True,
        )


if __name__ == "__main__":
    main()
