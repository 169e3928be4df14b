"""Cost of a greedy user for the others: their response times with and without this user, alternating.

`python -m tests.bench.greedy_user [--seconds 6] [--rounds 3] [--connections 300] [--attacks reads waits]`

One gateway, Postgres (without fsync), 2,000 accounts of 60 transfers, and one with 1,000. Honest users read a
snapshot each, pause for 50 ms, and so on. A quarter of their reads waits for the revision that is there. In
every second phase a greedy user keeps all its connections busy and ignores `Retry-After`. The attacks:

- reads: the largest page of transfers
- waits: reads with a `min_revision` that does not come
- strangers: requests without a valid token

Times are in ms, from sending a request to having its answer. "cores" is the CPU time of the gateway per
second. The ratio compares the medians of p95.
"""

import argparse
import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

import asyncpg

from livebalance.stack.servers.servers import Servers
from livebalance.wire.identity import MAX_REVISION
from tests.bench.bench_servers import run_on_servers
from tests.bench.greedy_client import KeepAliveClient, greedy_user
from tests.bench.peers.servers import ServerProcess, run_server
from tests.bench.reads import FILL, TRANSFERS
from tests.servers.database import Database
from tests.tokens import SECRET, token

ACCOUNTS = 2_000
LARGE = "acc-000001"
LARGE_TRANSFERS = 1_000
HONEST_USERS = 8
PAUSE = 0.05  # seconds between an answer and the next request of an honest user
WARM_UP = 1.0  # seconds at the start of each phase that are not measured
_FILL_LARGE = f"""
insert into transfer select '{LARGE}', n, 't-' || n, 1.5, n * 1.5, now(), now(), 'transfers', 0, n
  from generate_series({TRANSFERS + 1}, {LARGE_TRANSFERS}) n;
update balance set revision = {LARGE_TRANSFERS} where account_id = '{LARGE}';
"""
_ATTACKS = {
    "reads": f"/api/v1/accounts/{LARGE}/transfers?limit=500",
    "waits": f"/api/v1/accounts/{LARGE}?min_revision={MAX_REVISION}",
    "strangers": "/api/v1/accounts",
}


@dataclass
class Phase:
    """Times in ms of the honest users' requests, and the statuses of their answers."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    greedy: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0  # the gateway's, in cores

    def quantile(self, percent: int) -> float:
        times = sorted(self.times)
        return times[len(times) * percent // 100]


class HonestUser:
    """Reads an account, pauses, and reads it again."""

    def __init__(self, port: int, number: int) -> None:
        self._client = KeepAliveClient(port, token())
        self._path = f"/api/v1/accounts/acc-{number + 2:06}"
        self.phase: Phase | None = None  # the phase that is measured now

    async def run(self) -> None:
        requests = 0
        while True:
            requests += 1
            path = self._path if requests % 4 else f"{self._path}?min_revision={TRANSFERS}"
            start = time.perf_counter()
            status = (await self._client.get(path)).status
            if self.phase:
                self.phase.times.append(1000 * (time.perf_counter() - start))
                self.phase.statuses[str(status)] += 1
            await asyncio.sleep(PAUSE)


async def measure_phase(server: ServerProcess, users: list[HonestUser], seconds: float) -> Phase:
    phase = Phase()
    await asyncio.sleep(WARM_UP)
    for user in users:
        user.phase = phase
    cpu = server.cpu_seconds()
    await asyncio.sleep(seconds)
    phase.cpu = (server.cpu_seconds() - cpu) / seconds
    for user in users:
        user.phase = None
    return phase


async def measure(
    server: ServerProcess, attack: str, arguments: argparse.Namespace
) -> tuple[list[Phase], list[Phase]]:
    """Returns the phases without and with the greedy user."""
    users = [HonestUser(server.port, number) for number in range(HONEST_USERS)]
    without, with_greedy = [], []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(user.run()) for user in users]
        for _ in range(arguments.rounds):
            without.append(await measure_phase(server, users, arguments.seconds))
            greedy_token = "invalid" if attack == "strangers" else token()
            async with greedy_user(
                server.port, _ATTACKS[attack], arguments.connections, greedy_token
            ) as answers:
                with_greedy.append(await measure_phase(server, users, arguments.seconds))
                with_greedy[-1].greedy = answers
        for task in tasks:
            task.cancel()
    return without, with_greedy


def print_attack(attack: str, without: list[Phase], with_greedy: list[Phase]) -> None:
    for name, phases in (("without", without), ("with", with_greedy)):
        for phase in phases:
            figures = "".join(f"{phase.quantile(percent):9.1f}" for percent in (50, 95, 99))
            honest, greedy = (
                " ".join(f"{status}: {count}" for status, count in sorted(answers.items()))
                for answers in (phase.statuses, phase.greedy)
            )
            print(f"{attack:10}{name:9}{figures}{phase.cpu:9.2f}  {honest:20} {greedy}")
    usual, attacked = (median(phase.quantile(95) for phase in phases) for phases in (without, with_greedy))
    print(f"{attack:10}p95 with the greedy user / without: {attacked / usual:.2f}\n", flush=True)


async def benchmark(servers: Servers, arguments: argparse.Namespace) -> None:
    database = Database(servers.postgres, "bench")
    await database.create()
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute(FILL.replace("$accounts", str(ACCOUNTS)) + _FILL_LARGE)
    await owner.close()
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": servers.redis(),
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
    print(f"{'attack':10}{'user':9}{'p50':>9}{'p95':>9}{'p99':>9}{'cores':>9}  {'honest':20} greedy")
    async with run_server("livebalance.gateway", environment) as server:
        for attack in arguments.attacks:
            print_attack(attack, *await measure(server, attack, arguments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds of each phase to measure (6)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=300)
    parser.add_argument("--attacks", nargs="+", default=list(_ATTACKS), choices=list(_ATTACKS))
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", flush=True)
    run_on_servers(lambda servers: benchmark(servers, arguments))


if __name__ == "__main__":
    main()
