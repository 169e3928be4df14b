"""Time of statements, and of balances as of a date, of an account with many transfers.

`python -m tests.bench.long_account [--transfers 3000000]`

One Postgres (without fsync), one account whose transfers are spread over a year, each before its balance.
Times are in ms, from sending a statement to having its rows, the median of 5, for an hour that lies at the
beginning, in the middle and at the end of the year. The gateway reads with its role, the functions of
`reporting` with the role `analyst`. Fails if a time exceeds 200 ms. Writes plans to tests/bench/plans.
"""

import argparse
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import median

import asyncpg

from livebalance.readmodel import gateway_reads, statements
from livebalance.stack.servers.servers import Servers
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import millis
from tests.bench.bench_servers import run_on_servers
from tests.bench.reporting import write_plan
from tests.servers.database import Database

ACCOUNT = AccountId("busy")
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
REPETITIONS = 5
LIMIT_MS = 200

FILL = """
insert into projection select true, '00000000000000a1', system_identifier, timeline, 1 from server_identity;
insert into lane values (0, 0, 0, 1, '00000000000000a1', true, null, null, null, null, null, now());
insert into transfer
select 'busy', 2 * n, 't-' || n, 0.01, 0.01 * n, at, at, 'transfers', 0, n
  from generate_series(1, $transfers) n
 cross join lateral (select timestamptz '2026-01-01Z' + interval '365 days' * n / $transfers as at) a;
insert into balance (account_id, revision, lane, balance, scale, currency, version, transfer_id, client_id,
                     opening, posted_total, transfer_count, half_applied, drift, recorded_at)
select 'busy', 2 * $transfers + 1, 0, 0.01 * $transfers, 2, 'EUR', $transfers, 't-' || $transfers, 'client',
       0, 0.01 * $transfers, $transfers, 0, 0, max(recorded_at) from transfer;
"""

Query = Callable[[datetime, datetime], Awaitable[object]]


async def measure_query(query: Query, hour: tuple[datetime, datetime]) -> float:
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        await query(*hour)
        times.append(1000 * (time.perf_counter() - start))
    return median(times)


async def measure(database: Database, transfers: int) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(FILL.replace("$transfers", str(transfers)))
    await owner.execute("vacuum analyze")
    await owner.close()
    gateway = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    analyst = await asyncpg.connect(database.url("analyst"))

    async def edges(since: datetime, until: datetime) -> object:
        return await statements.read_edges(gateway, ACCOUNT, millis(since), millis(until))

    async def balance(_: datetime, until: datetime) -> object:
        return await analyst.fetch(f"select * from balance_as_of('{ACCOUNT}', $1)", until)

    async def statement(since: datetime, until: datetime) -> object:
        return await analyst.fetch(f"select * from statement('{ACCOUNT}', $1, $2)", since, until)

    queries = {"edges of the gateway": edges, "balance_as_of": balance, "statement": statement}
    hours = [(START + YEAR * part, START + YEAR * part + timedelta(hours=1)) for part in (0.001, 0.5, 0.999)]
    print(f"{transfers} transfers, ms\n{'':24}{'old':>9}{'middle':>9}{'recent':>9}")
    slowest = 0.0
    for name, query in queries.items():
        times = [await measure_query(query, hour) for hour in hours]
        slowest = max(slowest, *times)
        print(f"{name:24}" + "".join(f"{milliseconds:9.1f}" for milliseconds in times), flush=True)
        if query is not edges:
            since, until = (f"'{at.isoformat()}'" for at in hours[0])
            call = (
                f"balance_as_of('busy', {until})"
                if query is balance
                else f"statement('busy', {since}, {until})"
            )
            await write_plan(analyst, f"{name} of a long account", f"select * from {call}", times[0])
    await gateway.close()
    await analyst.close()
    if slowest > LIMIT_MS:
        raise SystemExit(f"slower than {LIMIT_MS} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--transfers", type=int, default=3_000_000)
    arguments = parser.parse_args()

    async def benchmark(servers: Servers) -> None:
        database = Database(servers.postgres, "bench")
        await database.create()
        await measure(database, arguments.transfers)

    run_on_servers(benchmark, "postgres")


if __name__ == "__main__":
    main()
