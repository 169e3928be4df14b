"""What a client that does nothing costs: memory, the way in, and a minute of ten thousand.

`python -m tests.bench.idle_clients [--counts 2000 5000 10000] [--seconds 60]`

Clients come over real sockets, show a token of their own, and follow one of 1,000 accounts each: connect,
auth, subscribe and snapshot is the way in. Memory is that of the server's process at each count of clients; a
line is fitted, and its slope is a client's. Then nothing happens for a minute but heartbeats (every 10 s) and
pings (every 20 s). The usual way beside it sends pings alone, and reads no snapshot from anywhere.
"""

import argparse
import asyncio
import statistics

from livebalance.stack.servers.servers import Servers
from tests.bench.bench_servers import on_servers
from tests.bench.fanout import PREFIX, WAYS, Server, fill, serving
from tests.bench.reconnect_storm import crowd
from tests.servers.database import Database
from tests.tokens import SECRET

ACCOUNTS = 1_000
PER_SECOND = 250  # who come
SETTLE = 5.0  # seconds


async def measure(way: str, server: Server, counts: list[int], seconds: float) -> None:
    sizes, before = [], 0
    async with crowd() as teller:
        for count in counts:
            cpu = server.cpu()
            await teller.ask("come", server.port, count - before, ACCOUNTS, PER_SECOND)
            cost = (server.cpu() - cpu) / (count - before) * 1e6
            await asyncio.sleep(SETTLE)
            sizes.append(server.resident() / 1024)
            before = count
            print(
                f"{way:<10}{count:>8,} clients {sizes[-1]:>9,.0f} KiB, the last came for {cost:.0f} µs each"
            )
        line = statistics.linear_regression(counts, sizes)
        print(f"{way:<10}a client {line.slope:.1f} KiB")
        cpu = server.cpu()
        await asyncio.sleep(seconds)
        spent = (server.cpu() - cpu) / seconds * 60
        print(f"{way:<10}a minute of {counts[-1]:,} idle ones: {spent:.2f} s of CPU\n", flush=True)


async def run(servers: Servers, counts: list[int], seconds: float) -> None:
    database = Database(servers.postgres, "idle")
    await database.create()
    await fill(database.url("owner"), ACCOUNTS)
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": servers.redis(),
        "LIVEBALANCE_CHANNEL_PREFIX": PREFIX,
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
    for way, module in WAYS.items():
        async with serving(module, environment) as server:
            await measure(way, server, counts, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[2_000, 5_000, 10_000])
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    on_servers(lambda servers: run(servers, given.counts, given.seconds))


if __name__ == "__main__":
    main()
