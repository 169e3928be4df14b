"""Time of an analyst's queries on a database of a given size.

`python -m tests.bench.reporting [--transfers 1000000] [--accounts 10000]`

One Postgres (without fsync), one connection of the role `analyst`. A tenth of the transfers belongs to one
account; the rest is spread evenly over all other accounts. All are spread over 90 days. Times are in ms, from
sending a query to having its rows, the median of 5. The plans are written to tests/bench/plans.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import asyncpg

from livebalance.readmodel.connection import Connection
from livebalance.stack.servers.servers import Servers
from tests.bench.bench_servers import run_on_servers
from tests.servers.database import Database

PLANS = Path(__file__).parent / "plans"
REPETITIONS = 5
LIMIT_MS = 1000

FILL = """
insert into projection select true, '00000000000000a1', system_identifier, timeline, 4 from server_identity;
insert into lane
select n, $transfers, $transfers, 1, '00000000000000a1', true, null, null, null, null, now(), now()
  from generate_series(0, 3) n;
create temporary table planned as
select a, n, of, ((n * 7919 + a * 104729) % 200001 - 100000) * 0.01 as amount,
       timestamptz '2026-01-01Z' + interval '90 days' * n / of as at
  from generate_series(0, $accounts - 1) a
 cross join lateral (select case a when 0 then $transfers / 10
                                   else $transfers * 9 / 10 / ($accounts - 1) end as of) size
 cross join lateral generate_series(1, of) n;
insert into transfer
select 'acc-' || lpad(a::text, 6, '0'), 2 * n, 't-' || n, amount,
       sum(amount) over (partition by a order by n), at, at, 'transfers', a % 4, n
  from planned order by at;
insert into balance (account_id, revision, lane, balance, scale, currency, version, transfer_id, client_id,
                     opening, posted_total, transfer_count, half_applied, drift, recorded_at)
select account_id, max(revision) + 1, min(lane), sum(amount), 2, 'EUR', count(*), 't-' || count(*), 'client',
       0, sum(amount), count(*), 0, 0, max(recorded_at) from transfer group by account_id;
insert into quarantine (topic, partition, source_offset, headers, kafka_time, reason)
select 'transfers', n % 4, n, '[]', now(), 'no Avro' from generate_series(1, 1000) n;
"""

BUSIEST, ORDINARY = "'acc-000000'", "'acc-000007'"
FEBRUARY = "'2026-02-01Z', '2026-03-01Z'"
QUERIES = {
    "accounts": "select * from accounts",
    "balances": "select * from balances",
    "transfers of an account": f"select * from transfers where account_id = {ORDINARY}",
    "transfers, newest 100 of the busiest": f"select * from transfers where account_id = {BUSIEST}"
    " order by revision desc limit 100",
    "transfers, all summed": "select count(*), sum(amount) from transfers",
    "transfers, all by balance_after": "select max(balance_after), min(balance_after) from transfers",
    "statement": f"select * from statement({ORDINARY})",
    "statement, a month of the busiest": f"select * from statement({BUSIEST}, {FEBRUARY})",
    "balance_as_of": f"select * from balance_as_of({BUSIEST}, '2026-01-02Z')",
    "balance_as_of, all accounts": "select a.account_id, b.* from accounts a"
    " cross join lateral balance_as_of(a.account_id, '2026-02-01Z') b",
    "balance_as_of, all accounts, long ago": "select a.account_id, b.* from accounts a"
    " cross join lateral balance_as_of(a.account_id, '2026-01-03Z') b",
    "balance_at": f"select * from balance_at({BUSIEST}, 100)",
    "daily_flows": "select * from daily_flows",
    "hourly_volume": "select * from hourly_volume",
    "top_movers": "select * from top_movers('2026-02-01')",
    "dormant_accounts": "select * from dormant_accounts",
    "reconciliation": "select * from reconciliation",
    "freshness": "select * from freshness",
    "quarantine_summary": "select * from quarantine_summary",
}


async def measure_query(analyst: Connection, query: str) -> tuple[float, int]:
    """Returns the median time in ms, and the number of rows."""
    times, rows = [], 0
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        rows = len(await analyst.fetch(query))
        times.append(1000 * (time.perf_counter() - start))
    return median(times), rows


async def write_plan(analyst: Connection, name: str, query: str, milliseconds: float) -> None:
    plan = await analyst.fetch(f"explain (analyze, costs off, timing off, summary off, buffers off) {query}")
    text = "\n".join([f"-- {query}", f"-- {milliseconds:.0f} ms", *[row[0] for row in plan]])
    (PLANS / f"{name.replace(', ', '-').replace(' ', '-')}.txt").write_text(f"{text}\n")


async def measure(database: Database, transfers: int, accounts: int) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    start = time.perf_counter()
    fill = FILL.replace("$transfers", str(transfers)).replace("$accounts", str(accounts))
    await owner.execute(fill)
    await owner.execute("vacuum analyze")
    count = await owner.fetchval("select count(*) from transfer")
    seconds = time.perf_counter() - start
    print(f"{count} transfers, {accounts} accounts, written in {seconds:.0f} s\n")
    await owner.close()
    analyst = await asyncpg.connect(database.url("analyst"))
    print(f"{'query':38}{'ms':>7}{'rows':>8}")
    slow = []
    for name, query in QUERIES.items():
        milliseconds, rows = await measure_query(analyst, query)
        too_slow = milliseconds > LIMIT_MS
        slow += [name] if too_slow else []
        print(f"{name:38}{milliseconds:7.1f}{rows:8}{'  too slow' if too_slow else ''}", flush=True)
        await write_plan(analyst, name, query, milliseconds)
    await analyst.close()
    if slow:
        raise SystemExit(f"slower than {LIMIT_MS} ms: {', '.join(slow)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transfers", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    arguments = parser.parse_args()
    PLANS.mkdir(exist_ok=True)

    async def benchmark(servers: Servers) -> None:
        database = Database(servers.postgres, "bench")
        await database.create()
        await measure(database, arguments.transfers, arguments.accounts)

    run_on_servers(benchmark, "postgres")


if __name__ == "__main__":
    main()
