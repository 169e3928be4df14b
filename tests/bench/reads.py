"""Time of a gateway's statements, with the rights of the role `gateway`.

`python -m tests.bench.reads [--accounts 20000]`

One Postgres (without fsync), `--accounts` accounts of 60 transfers each, one connection. Times are in ms,
from sending a statement to having its rows, the median of 30. "plain" is `select 1` on the same connection.
"""

import argparse
import time
from collections.abc import Awaitable, Callable, Iterable
from statistics import median

import asyncpg

from livebalance.readmodel import account_pages, gateway_reads
from livebalance.readmodel.gateway_reads import AccountQuery, ContentDigest
from livebalance.stack.servers.servers import Servers
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.bench.bench_servers import run_on_servers
from tests.servers.database import Database

EPOCH = Epoch("00000000000000a1")
TRANSFERS = 60
REPETITIONS = 30

FILL = f"""
insert into projection select true, '{EPOCH}', system_identifier, timeline, 1 from server_identity;
insert into lane values (0, 0, 0, 1, '{EPOCH}', true, null, null, null, null, null, now());
insert into balance (account_id, revision, lane, balance, scale, currency, version, transfer_id, client_id,
                     opening, posted_total, transfer_count, half_applied, drift, recorded_at)
select 'acc-' || lpad(a::text, 6, '0'), {TRANSFERS}, 0, 1.50, 2, 'EUR', 0, 't-1', 'c', 0, 1.5, 1, 0, 0, now()
  from generate_series(1, $accounts) a;
insert into transfer select account_id, n, 't-' || n, 1.5, n * 1.5, now(), now(), 'transfers', 0, n
  from balance, generate_series(1, {TRANSFERS}) n;
analyze;
"""


async def measure_read(read: Callable[[], Awaitable[object]]) -> float:
    """Returns the median time in ms."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        await read()
        times.append(1000 * (time.perf_counter() - start))
    return median(times)


def digests(accounts: Iterable[AccountId], transfers: int) -> dict[AccountId, ContentDigest]:
    """Returns digests that differ, of that many transfers of each account: the audit returns all accounts."""
    return dict.fromkeys(accounts, ContentDigest(Revision(TRANSFERS - transfers), b"", b""))


async def measure(database: Database, count: int) -> None:
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(FILL.replace("$accounts", str(count)))
    await owner.close()
    gateway = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    names = [AccountId(f"acc-{number:06}") for number in range(1, count + 1)]
    current, behind = Position(EPOCH, Revision(TRANSFERS)), Position(EPOCH, Revision(TRANSFERS - 5))
    known, first = dict.fromkeys(names, current), dict.fromkeys(names[:1000], current)
    sample = names[:: count // 200][:200]
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "plain": lambda: gateway.fetch("select 1"),
        f"audit of {count}": lambda: gateway_reads.read_audit(gateway, known),
        "audit of 1,000": lambda: gateway_reads.read_audit(gateway, first),
        "... with 1 delta each": lambda: gateway_reads.read_audit(gateway, first, digests(first, 1)),
        "... with 25 deltas each": lambda: gateway_reads.read_audit(gateway, first, digests(first, 25)),
        "snapshot of 1": lambda: gateway_reads.read_accounts(
            gateway, [AccountQuery(names[7], None)], 10_000, 200
        ),
        "snapshots of 200": lambda: gateway_reads.read_accounts(
            gateway, [AccountQuery(n, None) for n in sample], 10_000, 200
        ),
        "resumes of 200": lambda: gateway_reads.read_accounts(
            gateway, [AccountQuery(n, behind) for n in sample], 10_000, 200
        ),
        "a page of 50": lambda: account_pages.read_older(gateway, names[7], None, 50),
        "a list of all, 50": lambda: account_pages.list_accounts(gateway, [], [""], names[count // 2], 50),
        "a list of 100 ids, 50": lambda: account_pages.list_accounts(gateway, names[:100], [], "", 50),
    }
    print(f"{'read':24} {'ms':>8}")
    for name, read in reads.items():
        print(f"{name:24} {await measure_read(read):8.2f}")
    await gateway.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--accounts", type=int, default=20_000)
    count = parser.parse_args().accounts

    async def benchmark(servers: Servers) -> None:
        database = Database(servers.postgres, "bench")
        await database.create()
        await measure(database, count)

    run_on_servers(benchmark, "postgres")


if __name__ == "__main__":
    main()
