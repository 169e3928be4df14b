"""Cost of idle clients: memory of each, CPU time of each connection, and of 10,000 that are idle.

`python -m tests.bench.idle_clients [--servers gateway] [--counts 2000 10000] [--rate 250] [--seconds 60]`

Clients connect over real sockets, authenticate with tokens of their own, and subscribe to one of 1,000
accounts each. The cost of a connection includes all of this, and the snapshot.

The memory of the server's process is measured at each count of clients. The slope of a line through these
points is the memory per client. Then a minute passes in which a gateway sends heartbeats (every 10 s) and
pings (every 20 s). The other servers of tests.bench.peers send no heartbeats, and their snapshots are empty.
"""

import argparse
import asyncio
import statistics

from livebalance.stack.servers.servers import Servers
from tests.bench.bench_servers import run_on_servers
from tests.bench.peers.environment import fill_accounts
from tests.bench.peers.messages import PREFIX
from tests.bench.peers.servers import ServerProcess, peers, run_server
from tests.bench.reconnect_storm import run_fleet
from tests.servers.database import Database
from tests.tokens import SECRET

ACCOUNTS = 1_000
SETTLE = 5.0  # seconds between the last connection and the measurement of memory


async def measure(name: str, server: ServerProcess, counts: list[int], rate: float, seconds: float) -> None:
    sizes, connected = [], 0
    async with run_fleet() as fleet:
        for count in counts:
            cpu, more = server.cpu_seconds(), count - connected
            await fleet.call("connect", server.port, more, ACCOUNTS, rate)
            connection = (server.cpu_seconds() - cpu) / more * 1e6
            await asyncio.sleep(SETTLE)
            sizes.append(server.resident_bytes() / 1024)
            connected = count
            print(
                f"{name:<10}{count:>8,} clients {sizes[-1]:>9,.0f} KiB {connection:>6.0f} CPU µs/connection"
            )
        if len(counts) > 1:
            line = statistics.linear_regression(counts, sizes)
            print(f"{name:<10}{line.slope:.1f} KiB per client")
        before = server.cpu_time()
        await asyncio.sleep(seconds)
        user, kernel = (
            (new - old) / seconds * 100 for new, old in zip(server.cpu_time(), before, strict=True)
        )
        print(
            f"{name:<10}{counts[-1]:,} idle clients: {user + kernel:.2f} % of a core"
            f" ({user:.2f} user, {kernel:.2f} kernel)\n",
            flush=True,
        )


async def benchmark(
    servers: Servers, names: list[str], counts: list[int], rate: float, seconds: float
) -> None:
    database = Database(servers.postgres, "idle")
    await database.create()
    await fill_accounts(database.url("owner"), ACCOUNTS)
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": servers.redis(),
        "LIVEBALANCE_CHANNEL_PREFIX": PREFIX,
        "LIVEBALANCE_DEMO_SECRET": SECRET,
        "LIVEBALANCE_CONNECTION_RATE": "100000",  # `--rate` alone decides
    }
    for name in names:
        async with run_server(peers(None)[name].command, environment) as server:
            await measure(name, server, counts, rate, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--servers", nargs="+", default=["send_text", "gateway", "bare"])
    parser.add_argument("--counts", type=int, nargs="+", default=[2_000, 5_000, 10_000])
    parser.add_argument("--rate", type=float, default=250.0, help="new connections per second (250)")
    parser.add_argument("--seconds", type=float, default=60.0, help="idle seconds to measure (60)")
    arguments = parser.parse_args()
    run_on_servers(
        lambda servers: benchmark(
            servers, arguments.servers, arguments.counts, arguments.rate, arguments.seconds
        )
    )


if __name__ == "__main__":
    main()
