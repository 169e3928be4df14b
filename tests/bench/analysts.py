"""Cost of analysts for a projector: they query without a pause while it works off a backlog.

`python -m tests.bench.analysts [--records 200000] [--rounds 5] [--seconds 20] [--buffers 512MB]`

Real Kafka, Postgres (fsync on, shared_buffers as `--buffers` says) and Redis, one projector, a database of
1,000,000 transfers in 10,000 accounts. Each analyst is a psql with the role `analyst` that repeats the
queries of tests.bench.reporting. It has the lowest priority, as if it ran on another machine.

A projector works off backlogs of `--records` without (A) and with the analysts (B), in the order
A A B A B A B ... The distance of the A runs from their median shows which differences mean anything. A run of
more than `--seconds` is measured for that time only.

The setup "Pool" uses the connection pool of docs/reporting.md. In the setup "Standby, separate cores" the
live path has the first half of the cores, in A as in B. The analysts and the standby have the other half.
"""

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import asyncpg
import uvloop

from livebalance.readmodel.connection import Connection, set_numeric_codec
from livebalance.runtime import logs
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.paths import StatePaths
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.postgres import PostgresServer
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.bench.analyst_processes import count_answers, running_analysts
from tests.bench.backlog import PARTITIONS, RecordGenerator, fill
from tests.bench.process_cpu import cpu_seconds, lower_priority, pin
from tests.integration.projector.pipeline import Pipeline
from tests.servers.database import Database, make_template
from tests.servers.pgbouncer import PgBouncer
from tests.servers.standby import Standby

DRAIN_TIMEOUT = 180.0  # seconds for the rest of a backlog after the measured time
FILLED = "filled"
_ACCOUNTS = "select account_id, version, posted_total from balance order by account_id"
_BACKENDS = "select pid from pg_stat_activity where usename = 'projector' and datname = current_database()"


@dataclass(frozen=True)
class Setup:
    """How analysts reach Postgres: directly, through a pool, or on a standby with cores of its own."""

    name: str
    pool: bool = False
    standby: bool = False


ANALYSTS = 10
SETUPS = [Setup("Direct"), Setup("Pool", pool=True), Setup("Standby, separate cores", standby=True)]


@dataclass(frozen=True)
class Run:
    """Figures of a run, from the first batch on."""

    records: int
    seconds: float
    projector: float  # CPU seconds
    backend: float  # CPU seconds of the projector's connections in Postgres
    answers: int

    @property
    def rate(self) -> float:
        return self.records / self.seconds


@dataclass
class Bench:
    """A setup with its own database and topics, on servers that all setups share."""

    pipeline: Pipeline
    owner: Connection
    analyst_url: str
    analyst_server_url: str  # of the server that answers analysts, for its owner
    analyst_cores: set[int] | None  # None: any
    max_connections: int  # of all analysts together
    generator: RecordGenerator
    written: int = 0

    async def run(self, records: int, seconds: float, analysts: int) -> Run:
        """Writes a backlog, measures a projector and `analysts`, and waits until the backlog is applied."""
        await self.pipeline.write(self.generator.next_records(records))
        before, self.written = self.written, self.written + records
        with running_analysts(self.analyst_url, analysts, self.pipeline.directory) as children:
            await self._wait_until_connected(children)
            projector = self.pipeline.start(catch_up_threshold_seconds=86_400.0)
            run = await self._measure(projector, before, seconds, children)
        async with asyncio.timeout(DRAIN_TIMEOUT):
            while await self._applied() < self.written:  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(0.05)
        projector.stop()
        return run

    async def _wait_until_connected(self, children: Sequence[ChildProcess]) -> None:
        """Waits until the analysts are connected. Lowers their priority, and pins them if they have cores."""
        clients = [child.pid for child in children if child.pid]
        for pid in clients:
            lower_priority(pid)
        connection = await asyncpg.connect(self.analyst_server_url)
        query = "select pid from pg_stat_activity where usename = 'analyst'"
        expected = min(len(children), self.max_connections)
        async with asyncio.timeout(30):
            while len(backends := await connection.fetch(query)) < expected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await connection.close()
        if self.analyst_cores:
            for pid in (*clients, *(row["pid"] for row in backends)):
                pin(pid, self.analyst_cores)

    async def _measure(
        self, projector: ChildProcess, before: int, seconds: float, children: Sequence[ChildProcess]
    ) -> Run:
        while (first := await self._applied()) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert projector.pid
        pids, backends = [projector.pid], [row["pid"] for row in await self.owner.fetch(_BACKENDS)]
        start, answers_before = time.monotonic(), count_answers(children)
        cpu_before = cpu_seconds(pids), cpu_seconds(backends)
        end = start + seconds
        while (applied := await self._applied()) < self.written and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        duration = time.monotonic() - start
        cpu = cpu_seconds(pids) - cpu_before[0], cpu_seconds(backends) - cpu_before[1]
        return Run(applied - first, duration, *cpu, count_answers(children) - answers_before)

    async def _applied(self) -> int:
        return int(await self.owner.fetchval("select sum(transfers_next + balances_next)::bigint from lane"))


@contextlib.asynccontextmanager
async def make_bench(servers: Servers, setup: Setup, home: Path) -> AsyncIterator[Bench]:
    """Makes a bench on a copy of the filled database, with new topics."""
    name = f"setup_{SETUPS.index(setup)}"
    database, topics = Database(servers.postgres, name), Topics(f"t-{name}", f"b-{name}", PARTITIONS)
    await topics.create(Broker(servers.kafka))
    maker = await asyncpg.connect(servers.postgres("owner", "postgres"))
    await maker.execute(f"create database {name} template {FILLED}")
    await maker.execute("checkpoint")
    await maker.close()
    owner = await asyncpg.connect(database.url("owner"))
    await set_numeric_codec(owner)
    pipeline = Pipeline(servers.kafka, topics, database, servers.redis(), f"{name}:", home)
    with (
        split_cores(servers, setup) as analyst_cores,
        analyst_server(servers, setup, home, analyst_cores) as (analyst_url, owner_url),
    ):
        generator = RecordGenerator(await owner.fetch(_ACCOUNTS))
        max_connections = 1 if setup.pool else ANALYSTS
        yield Bench(
            pipeline,
            owner,
            f"{analyst_url}/{name}",
            f"{owner_url}/{name}",
            analyst_cores,
            max_connections,
            generator,
        )
    await owner.close()
    pipeline.stop()
    await database.drop()


@contextlib.contextmanager
def split_cores(servers: Servers, setup: Setup) -> Iterator[set[int] | None]:
    """Yields the cores of the analysts; None if all processes share all cores."""
    if not setup.standby:
        yield None
        return
    cores = sorted(os.sched_getaffinity(0))
    half = (len(cores) + 1) // 2
    live_cores, analyst_cores = set(cores[:half]), set(cores[half:])
    pids = [os.getpid(), *(server.child.pid or 0 for server in servers.embedded.values())]
    for pid in pids:
        pin(pid, live_cores)
    yield analyst_cores
    for pid in pids:
        pin(pid, set(cores))


@contextlib.contextmanager
def analyst_server(
    servers: Servers, setup: Setup, home: Path, analyst_cores: set[int] | None
) -> Iterator[tuple[str, str]]:
    """Yields the URL for analysts, and the URL of the server behind it for its owner, without a database."""
    analyst_url, owner_url = (servers.postgres(role, "").rstrip("/") for role in ("analyst", "owner"))
    if setup.pool:
        directory = home / "pool"
        directory.mkdir()
        pool = PgBouncer(directory, analyst_url, "analyst")
        pool.start()
        yield pool.url("analyst"), owner_url
        pool.stop()
    elif setup.standby:
        standby = Standby(
            StatePaths(StatePaths.from_environment().home, home / "standby"), servers.postgres("owner")
        )
        standby.settings.update(_postgres(servers).settings)
        standby.prepare()
        standby.start()
        standby.ready()
        assert standby.child.pid
        pin(standby.child.pid, analyst_cores or os.sched_getaffinity(0))
        yield f"postgresql://analyst@127.0.0.1:{standby.port}", f"postgresql://owner@127.0.0.1:{standby.port}"
        standby.stop()
    else:
        yield analyst_url, owner_url


def _postgres(servers: Servers) -> PostgresServer:
    server = servers.embedded["postgres"]
    assert isinstance(server, PostgresServer)
    return server


HEADER = (
    f"{'':24}{'records/s':>9}{'min':>9}{'max':>9}"
    f"{'projector us':>14}{'backends us':>14}{'answers/s':>12}"
)  # us: CPU time per record


def format_runs(name: str, runs: Sequence[Run]) -> str:
    rates = [run.rate for run in runs]
    records, seconds = sum(run.records for run in runs), sum(run.seconds for run in runs)
    projector = 1e6 * sum(run.projector for run in runs) / records
    backends = 1e6 * sum(run.backend for run in runs) / records
    return (
        f"  {name:22}{median(rates):9,.0f}{min(rates):9,.0f}{max(rates):9,.0f}"
        f"{projector:14.1f}{backends:14.1f}{sum(run.answers for run in runs) / seconds:12.1f}"
    )


def format_setup(setup: Setup, without: Sequence[Run], with_analysts: Sequence[Run]) -> str:
    usual = median(run.rate for run in without)
    cost = 1 - median(run.rate for run in with_analysts) / usual
    noise = max(abs(run.rate - usual) for run in without) / usual
    return "\n".join(
        [
            f"{setup.name}: analysts cost {cost:.0%} of the throughput (runs without them: ±{noise:.0%})",
            format_runs("no analysts", without),
            format_runs(f"{ANALYSTS} analysts", with_analysts),
        ]
    )


async def benchmark(servers: Servers, arguments: argparse.Namespace, home: Path) -> list[dict[str, object]]:
    filled = Database(servers.postgres, FILLED)
    await filled.create()
    await fill(filled, arguments.transfers, arguments.accounts)
    print(HEADER)
    results: list[dict[str, object]] = []
    for setup in (SETUPS[number] for number in arguments.setups):
        without, with_analysts = [], []
        async with make_bench(servers, setup, home) as bench:
            without.append(await bench.run(arguments.records, arguments.seconds, 0))
            for _ in range(arguments.rounds):
                without.append(await bench.run(arguments.records, arguments.seconds, 0))
                with_analysts.append(await bench.run(arguments.records, arguments.seconds, ANALYSTS))
        print(format_setup(setup, without, with_analysts), flush=True)
        runs = {
            "without_analysts": [asdict(run) for run in without],
            "with_analysts": [asdict(run) for run in with_analysts],
        }
        results.append({"setup": asdict(setup), **runs})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--transfers", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=200_000, help="records of each backlog (200000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="seconds to measure of each backlog at most (20)"
    )
    parser.add_argument("--buffers", default="512MB", help="shared_buffers of Postgres (512MB)")
    numbers = range(len(SETUPS))
    parser.add_argument("--setups", type=int, nargs="+", default=numbers, choices=numbers)
    arguments = parser.parse_args()
    logs.configure("bench", "text", "ERROR")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before", flush=True)
    with tempfile.TemporaryDirectory(prefix="analysts-") as state:
        home = Path(state)
        home.chmod(0o755)  # Postgres may run as another user
        servers = Servers(StatePaths(StatePaths.from_environment().home, home), only_embedded=True)
        _postgres(servers).settings["shared_buffers"] = arguments.buffers
        with servers:
            make_template(servers.postgres)
            results = uvloop.run(benchmark(servers, arguments, home))
    path = StatePaths.from_environment("bench").directory("analysts") / "result.json"
    path.write_text(json.dumps({"cores": os.cpu_count(), "load_before": load, "setups": results}, indent=1))
    print(f"\n{path}")


if __name__ == "__main__":
    main()
