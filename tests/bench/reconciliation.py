"""CPU of a projector and of Postgres while applied transfers are compared with Kafka, at several rates.

`python -m tests.bench.reconciliation [--records 100000] [--seconds 30] [--rows 2000000]`

One projector in this process, on its own Kafka and Postgres, which has applied all records: what it uses
beyond the rate 0 is the comparison. Then one comparison of 2,000 offsets in a table of `--rows` transfers of
four lanes, with and without the index on the offset.
"""

import argparse
import asyncio
import statistics
import time
from pathlib import Path

import asyncpg
import psutil

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.reconciliation import differences
from livebalance.readmodel.reconciliation.differences import SPAN_OFFSETS, Span
from livebalance.runtime import logs
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money
from tests.bench.bench_servers import run_on_servers
from tests.bench.projection import make_records, new_database
from tests.integration.projector.pipeline import Pipeline
from tests.servers.database import Database

RATES = [0, 2_000, 10_000]
LANES = 4
ACCOUNTS = 1_000
FILL = f"""
insert into transfer
select 'a' || n % {ACCOUNTS}, n, 't-' || n, 0.01, 0.01, 'epoch', 'epoch', 'transfers', n % {LANES},
       n / {LANES}
  from generate_series(0, $1::int - 1) n
"""


def postgres_seconds(postmaster: psutil.Process) -> float:
    """Returns the CPU time of all backends so far, including those that have ended."""
    running = [process.cpu_times() for process in postmaster.children()]
    return sum(postmaster.cpu_times()[:4]) + sum(sum(times[:2]) for times in running)


async def measure(pipeline: Pipeline, rate: int, seconds: float) -> tuple[float, float]:
    """Returns the shares of a core that the projector and Postgres use."""
    backend = await asyncpg.connect(pipeline.database.url("owner"))
    parent = psutil.Process(await backend.fetchval("select pg_backend_pid()")).parent()
    assert parent is not None
    async with pipeline.running(projector_group=f"rate-{rate}", reconciliation_rate=rate):
        await asyncio.sleep(15)  # the first turn has begun
        start, cpu, postgres = time.monotonic(), time.process_time(), postgres_seconds(parent)
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - start
        shares = (time.process_time() - cpu) / elapsed, (postgres_seconds(parent) - postgres) / elapsed
    await backend.close()
    return shares


async def span_milliseconds(connection: Connection, rows: int) -> float:
    """Returns the median time to compare spans all over the table."""
    samples = []
    step = max(1, rows // LANES // SPAN_OFFSETS // 15) * SPAN_OFFSETS
    for first in range(0, rows // LANES - SPAN_OFFSETS, step):
        numbers = [(offset, offset * LANES + 1) for offset in range(first, first + SPAN_OFFSETS)]
        records = [
            (
                Offset(offset),
                Transfer(TransferId(f"t-{n}"), AccountId(f"a{n % ACCOUNTS}"), Money(1, 2), 0),
            )
            for offset, n in numbers
        ]
        span, start = Span(Lane(1), Offset(first), Offset(first + SPAN_OFFSETS)), time.perf_counter()
        assert await differences.find_differences(connection, "transfers", span, records) == []
        samples.append((time.perf_counter() - start) * 1000)
    return statistics.median(samples)


async def measure_spans(database: Database, rows: int) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(FILL, rows)
    await owner.execute("vacuum analyze transfer")
    size = await owner.fetchval("select pg_size_pretty(pg_relation_size('transfer_source'))")
    await owner.close()
    connection = await asyncpg.connect(database.url("projector"), server_settings={"jit": "off"})
    indexed = await span_milliseconds(connection, rows)
    await connection.execute("set enable_bitmapscan = off")
    scanned = await span_milliseconds(connection, rows)
    print(f"\n2,000 offsets of {rows:,} transfers: {indexed:.1f} ms by the index ({size}), or {scanned:.1f}")
    await connection.close()


async def benchmark(servers: Servers, count: int, seconds: float, rows: int) -> None:
    topics = Topics()
    await topics.create(Broker(servers.kafka))
    records = make_records(count, ACCOUNTS)
    async with new_database(servers, "bench_rates") as database:
        pipeline = Pipeline(servers.kafka, topics, database, servers.redis(), "bench:", Path())
        await pipeline.write(records)
        async with pipeline.running(reconciliation_rate=0):
            await pipeline.wait_until_applied(records, 120)
        print(f"{'transfers per second':>20}{'projector':>11}{'Postgres':>10}   shares of a core")
        for rate in RATES:
            projector, postgres = await measure(pipeline, rate, seconds)
            print(f"{rate:20,}{projector:11.1%}{postgres:10.1%}", flush=True)
    async with new_database(servers, "bench_spans") as database:
        await measure_spans(database, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rows", type=int, default=2_000_000)
    arguments = parser.parse_args()
    logs.configure("bench", "text", "ERROR")
    run_on_servers(
        lambda servers: benchmark(servers, arguments.records, arguments.seconds, arguments.rows),
        "kafka",
        "postgres",
        "redis",
        durable=True,
    )


if __name__ == "__main__":
    main()
