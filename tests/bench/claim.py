"""Time and memory of a projector's claim in a database of many accounts, none or a third of them unverified.

`python -m tests.bench.claim [--accounts 3000000]`

One projector in this process, on its own Kafka (empty topics) and Postgres (without fsync). The claim is
measured from its start until the lanes are ready to be read, and the memory as the growth of this process.
`after` is the time of the lanes' first progress, which also reads the numbers for the metrics.
"""

import argparse
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import asyncpg
import psutil

from livebalance.projector.projector import Projector
from livebalance.runtime import logs
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.bench.bench_servers import run_on_servers
from tests.integration.projector.pipeline import Pipeline, wait_until
from tests.servers.database import Database

# A tenth of the unverified accounts is disputed as well.
FILL = """
insert into balance (account_id, revision, lane, balance, scale, currency, version, transfer_id, client_id,
                     opening, posted_total, transfer_count, half_applied, drift, unverified_since,
                     disputed_since, recorded_at)
select 'acc-' || lpad(n::text, 9, '0'), 3, n % 3, 1.50, 2, 'EUR', 1, 't-1', 'client', 0, 1.50, 1,
       case when waits then null else 0 end, case when waits then null else 0 end,
       case when waits then timestamptz '2026-01-01Z' + n * interval '1 ms' end,
       case when waits and n % 10 = 0 then timestamptz '2026-01-01Z' end, '2026-01-01Z'
  from generate_series(1, $1::int) n cross join lateral (select n <= $2::int as waits) w
"""

Method = Callable[[Projector], Awaitable[Any]]


@dataclass
class Cost:
    """What the last call of a method took."""

    seconds: float = 0.0
    mebibytes: float = 0.0


def measured(method: Method, cost: Cost) -> Method:
    """Returns the method, which then also measures its cost."""

    async def run(projector: Projector) -> None:
        before, start = psutil.Process().memory_info().rss, time.perf_counter()
        await method(projector)
        cost.seconds = time.perf_counter() - start
        cost.mebibytes = (psutil.Process().memory_info().rss - before) / 2**20

    return run


async def measure(pipeline: Pipeline, group: str) -> tuple[Cost, Cost]:
    """Returns the cost of a projector's claim, and of its first progress."""
    claim, progress = Cost(), Cost()
    with (
        mock.patch.object(Projector, "_claim", measured(Projector._claim, claim)),
        mock.patch.object(Projector, "_write_progress", measured(Projector._write_progress, progress)),
    ):
        async with pipeline.running(projector_group=group):
            await wait_until(lambda: progress.seconds > 0, 120)
    return claim, progress


async def fill(database: Database, accounts: int, unverified: int) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(FILL, accounts, unverified)
    await owner.execute("vacuum analyze balance")
    await owner.close()


async def benchmark(servers: Servers, accounts: int) -> None:
    topics = Topics()
    await topics.create(Broker(servers.kafka))
    print(f"{'accounts':>10}{'unverified':>12}{'claim s':>9}{'MiB':>7}{'after s':>9}")
    for number, unverified in enumerate([0, accounts // 3]):
        database = Database(servers.postgres, f"bench_{number}")
        await database.create()
        pipeline = Pipeline(servers.kafka, topics, database, servers.redis(), f"bench-{number}:", Path())
        await measure(pipeline, "warm-up")  # creates the projection, and imports what a first claim needs
        await fill(database, accounts, unverified)
        claim, progress = await measure(pipeline, "measured")
        print(
            f"{accounts:10,}{unverified:12,}{claim.seconds:9.3f}{claim.mebibytes:7.1f}{progress.seconds:9.3f}",
            flush=True,
        )
        await database.drop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=3_000_000)
    arguments = parser.parse_args()
    logs.configure("bench", "text", "ERROR")
    run_on_servers(lambda servers: benchmark(servers, arguments.accounts), "kafka", "postgres", "redis")


if __name__ == "__main__":
    main()
