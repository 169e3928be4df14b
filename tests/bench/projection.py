"""Records a second through one projector, and what a record costs it: by batches, and row by row.

`python -m tests.bench.projection [--records 100000] [--accounts 1000] [--seconds 20]`

Each way runs in this process on real Kafka and Postgres (fsync on), from topics filled before; one that does
not get through them in time is stopped after `--seconds`. Offsets are in the transaction in every way.
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

import uvloop

from livebalance.projector import metrics
from livebalance.readmodel import projector_writes
from livebalance.readmodel.rows import BatchRows
from livebalance.runtime import logs
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.projector.pipeline import Pipeline, history
from tests.servers.database import Database, make_template

Patch = contextlib.AbstractContextManager[object]


@dataclass(frozen=True)
class Way:
    """One way to write."""

    name: str
    batch: int
    patched: Callable[[], Patch] = contextlib.nullcontext


@dataclass(frozen=True)
class Measured:
    records: int
    wall: float  # seconds
    cpu: float  # seconds of this process

    @property
    def rate(self) -> float:
        return self.records / self.wall


def row_by_row() -> Patch:
    """The same statement, each time with one row."""
    write = projector_writes.write_batch

    async def each(
        connection: projector_writes.Connection, topic: str, work: BatchRows
    ) -> projector_writes.WriteResult:
        works = [BatchRows(moves=work.moves, erased=work.erased)]
        works += [BatchRows(balances=[row]) for row in work.balances]
        works += [BatchRows(transfers=[row]) for row in work.transfers]
        found = [await write(connection, topic, one) for one in works]
        return projector_writes.WriteResult(*map(sum, zip(*found, strict=True)))

    return mock.patch.object(projector_writes, "write_batch", each)


WAYS = [
    Way("batches of 2,000, by unnest", 2000),
    Way("batches of 2,000, row by row", 2000, row_by_row),
    Way("a transaction per record", 1),
]


def records(count: int, accounts: int) -> list[Transfer | Balance]:
    """Of all accounts in turn, as they would come."""
    each = max(1, count // 2 // accounts)
    histories = [
        history(f"account-{number:05d}", [(step * 7919 + number) % 2001 - 1000 for step in range(each)])
        for number in range(accounts)
    ]
    return [one for same in zip(*histories, strict=True) for one in same]


def _applied() -> float:
    return float(metrics.records_applied._value.get())


async def measured(world: Pipeline, way: Way, total: int, seconds: float) -> Measured:
    """From the first batch that Postgres has taken."""
    start = _applied()
    with way.patched():
        async with world.running(projector_group=way.name, batch_records=way.batch):
            while _applied() == start:  # noqa: ASYNC110 - a counter tells nobody
                await asyncio.sleep(0.001)
            first, began, cpu = _applied(), time.monotonic(), time.process_time()
            end = began + seconds
            while (done := _applied() - start) < total and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return Measured(int(done + start - first), time.monotonic() - began, time.process_time() - cpu)


@contextlib.asynccontextmanager
async def fresh(servers: Servers, name: str) -> AsyncIterator[Database]:
    database = Database(servers.postgres, name)
    await database.create()
    yield database
    await database.drop()


async def bench(servers: Servers, count: int, accounts: int, seconds: float) -> None:
    topics = Topics()
    await topics.create(Broker(servers.kafka))
    made = records(count, accounts)
    found: list[Measured] = []
    for number, way in enumerate(WAYS):
        async with fresh(servers, f"bench_{number}") as database:
            world = Pipeline(servers.kafka, topics, database, servers.redis(), "bench:", Path())
            if number == 0:
                await world.write(made)
            found.append(await measured(world, way, len(made), seconds))
    print(f"\n{len(made)} records of {accounts} accounts, {topics.partitions} lanes, one projector")
    for way, one in zip(WAYS, found, strict=True):
        print(
            f"{way.name:32} {one.rate:9,.0f} records/s {one.cpu / one.records * 1e6:8.1f} µs CPU/record"
            f" {found[0].rate / one.rate:8.1f} times slower"
        )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--records", type=int, default=100_000)
    asked.add_argument("--accounts", type=int, default=1000)
    asked.add_argument("--seconds", type=float, default=20.0)
    given = asked.parse_args()
    logs.configure("bench", "text", "ERROR")
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)  # Postgres may run as another user
        with Servers(StatePaths(StatePaths.from_environment().home, Path(home))) as servers:
            make_template(servers.postgres)
            uvloop.run(bench(servers, given.records, given.accounts, given.seconds))


if __name__ == "__main__":
    main()
