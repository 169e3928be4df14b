"""CPU time of a server per delivered update: the gateway beside Centrifugo, Starlette and a bare relay.

`python -m tests.bench.peers [--clients 1000] [--seconds 5] [--rounds 5] [--write]`

Each server runs on a core of its own; Redis, the publisher and the clients share the other cores. Where root
and `ip` allow it, the clients are in a network namespace of their own. In the scenario "own" each client
subscribes to another account, in "hot" all to the same. The same deltas are published to Redis at the same
rate, in each server's own format; clients count what they receive, and one of 16 checks that the revisions
chain. The servers take turns in each round, and the table has medians.

- centrifugo: Centrifugo with its Redis engine, built with Go, without tokens, history or snapshots
- gateway again: another run of the gateway; how the two differ is the noise
- send_text: Starlette and redis-py, the usual way in Python
- bare: forwards frames and gives no guarantees, so no gateway in Python can cost less

`--write` writes the tables into the documentation.
"""

import argparse
import os

from livebalance.stack.paths import PROJECT, StatePaths
from livebalance.stack.servers.servers import Servers
from tests.bench.bench_servers import run_on_servers
from tests.bench.peers.client_network import ClientNetwork, client_network
from tests.bench.peers.environment import server_environment
from tests.bench.peers.measurement import Measurement, Scenario, measure
from tests.bench.peers.report import print_line, render
from tests.bench.peers.servers import build_centrifugo, peers, run_server

SCENARIOS = [
    *(("own", rate) for rate in (4_000, 16_000)),
    *(("hot", rate) for rate in (10_000, 80_000, 200_000, 400_000)),
]
REPORT = PROJECT / "docs" / "benchmarks.md"
BEGIN, END = (
    "<!-- The peers bench writes what follows. -->\n",
    "<!-- End of what the peers bench writes. -->\n",
)


async def benchmark(
    servers: Servers, arguments: argparse.Namespace, core: int, network: ClientNetwork
) -> str:
    """Runs all rounds, and returns the tables."""
    compared = peers(build_centrifugo(StatePaths.from_environment().home / "bench"))
    environment = await server_environment(servers, arguments.clients)
    scenarios = [Scenario(kind, rate, arguments.seconds, arguments.clients) for kind, rate in SCENARIOS]
    results: dict[tuple[Scenario, str], list[Measurement]] = {}
    for round_ in range(arguments.rounds):
        for scenario in scenarios:
            names = list(compared)
            for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
                redis = environment["LIVEBALANCE_REDIS"]
                async with run_server(compared[name].command, environment, core, network.host) as server:
                    result = await measure(compared[name], server, redis, scenario, network)
                results.setdefault((scenario, name), []).append(result)
                print_line(round_, scenario, name, result)
    return render(scenarios, list(compared), results, network.description)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each scenario (5)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each server has its turn (5)")
    parser.add_argument("--write", action="store_true", help=f"write {REPORT}")
    arguments = parser.parse_args()
    cores = os.sched_getaffinity(0)
    core = max(cores)
    os.sched_setaffinity(0, cores - {core} or cores)  # the children inherit this
    with client_network(os.sched_getaffinity(0)) as network:
        tables = run_on_servers(lambda servers: benchmark(servers, arguments, core, network))
    print(tables)
    if arguments.write:
        before, _, rest = REPORT.read_text().partition(BEGIN)
        REPORT.write_text(f"{before}{BEGIN}\n{tables}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
