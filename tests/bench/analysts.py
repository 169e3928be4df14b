"""What analysts cost a projector: they ask in a loop, back to back, while it works off a backlog.

`python -m tests.bench.analysts [--records 200000] [--rounds 5] [--seconds 20] [--buffers 512MB]`

Real Kafka, Postgres (fsync on, shared_buffers as `--buffers` says) and Redis, one projector, a database of
1,000,000 transfers in 10,000 accounts. Each analyst is a psql with the role `analyst` that asks what
tests.bench.reporting asks, over and over; as it would be on another machine, it has what the rest leaves.
A backlog of `--records` is worked off alone (A) and with the analysts (B) in turn, A A B A B A B ...; how far
those alone lie from their median says what a difference means. One that takes longer than `--seconds` is
measured for as long.

"In turns" is through the pool that docs/reporting.md shows. With "cores apart" everything of the live path
has the first half of the cores, in A as in B; the analysts and the standby that they ask have the others.
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

from livebalance.readmodel import projector_writes
from livebalance.readmodel.projector_writes import Connection
from livebalance.runtime import logs
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.paths import StatePaths
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.postgres import PostgresServer
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.bench.analyst_processes import answers, asking
from tests.bench.backlog import PARTITIONS, Accounts, fill
from tests.bench.process_cpu import cpu, make_last, pin
from tests.integration.projector.pipeline import Pipeline
from tests.servers.database import Database, make_template
from tests.servers.pgbouncer import PgBouncer
from tests.servers.standby import Standby

REST = 180.0  # seconds for what is left of a backlog
FILLED = "filled"
_ACCOUNTS = "select account_id, version, posted_total from balance order by account_id"
_BACKENDS = "select pid from pg_stat_activity where usename = 'projector' and datname = current_database()"


@dataclass(frozen=True)
class Ground:
    """Where the analysts ask."""

    name: str
    pool: bool = False
    standby: bool = False  # with cores of its own


ANALYSTS = 10
GROUNDS = [Ground("One server"), Ground("In turns", pool=True), Ground("Standby, cores apart", standby=True)]


@dataclass(frozen=True)
class Leg:
    """Of the time from the first batch on."""

    records: int
    seconds: float
    projector: float  # CPU seconds
    backend: float  # CPU seconds of its connections in Postgres
    answers: int

    @property
    def rate(self) -> float:
        return self.records / self.seconds


@dataclass
class Bench:
    """One ground: its database and its topics, on servers that all grounds share."""

    world: Pipeline
    owner: Connection
    asked: str  # the address that the analysts ask
    watched: str  # and of the server behind it, for its owner
    theirs: set[int] | None  # the cores that they have; None: any
    at_once: int  # so many connections of theirs there are at most
    accounts: Accounts
    written: int = 0

    async def leg(self, records: int, seconds: float, analysts: int) -> Leg:
        await self.world.write(self.accounts.more(records))
        before, self.written = self.written, self.written + records
        with asking(self.asked, analysts, self.world.directory) as children:
            await self._until_all_ask(children)
            projector = self.world.start(catch_up_threshold_seconds=86_400.0)
            leg = await self._measured(projector, before, seconds, children)
        async with asyncio.timeout(REST):
            while await self._applied() < self.written:  # noqa: ASYNC110 - SQL tells nobody
                await asyncio.sleep(0.05)
        projector.stop()
        return leg

    async def _until_all_ask(self, children: Sequence[ChildProcess]) -> None:
        clients = [child.pid for child in children if child.pid]
        for pid in clients:
            make_last(pid)
        watch = await asyncpg.connect(self.watched)
        query = "select pid from pg_stat_activity where usename = 'analyst'"
        async with asyncio.timeout(30):
            while len(found := await watch.fetch(query)) < min(len(children), self.at_once):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await watch.close()
        for pid in (*clients, *(row["pid"] for row in found)) if self.theirs else ():
            pin(pid, self.theirs or set())

    async def _measured(
        self, projector: ChildProcess, before: int, seconds: float, children: Sequence[ChildProcess]
    ) -> Leg:
        while (first := await self._applied()) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert projector.pid
        mine, backends = [projector.pid], [row["pid"] for row in await self.owner.fetch(_BACKENDS)]
        began, asked = time.monotonic(), answers(children)
        spent = cpu(mine), cpu(backends)
        end = began + seconds
        while (now := await self._applied()) < self.written and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        more = cpu(mine) - spent[0], cpu(backends) - spent[1]
        return Leg(now - first, took, *more, answers(children) - asked)

    async def _applied(self) -> int:
        return int(await self.owner.fetchval("select sum(transfers_next + balances_next)::bigint from lane"))


@contextlib.asynccontextmanager
async def benching(servers: Servers, ground: Ground, home: Path) -> AsyncIterator[Bench]:
    """On a copy of what was filled, with topics of its own."""
    name = f"ground_{GROUNDS.index(ground)}"
    database, topics = Database(servers.postgres, name), Topics(f"t-{name}", f"b-{name}", PARTITIONS)
    await topics.create(Broker(servers.kafka))
    maker = await asyncpg.connect(servers.postgres("owner", "postgres"))
    await maker.execute(f"create database {name} template {FILLED}")
    await maker.execute("checkpoint")
    await maker.close()
    owner = await asyncpg.connect(database.url("owner"))
    await projector_writes.set_numeric_codec(owner)
    world = Pipeline(servers.kafka, topics, database, servers.redis(), f"{name}:", home)
    with cores(servers, ground) as theirs, asked_of(servers, ground, home, theirs) as (asked, watched):
        accounts = Accounts(await owner.fetch(_ACCOUNTS))
        at_once = 1 if ground.pool else ANALYSTS
        yield Bench(world, owner, f"{asked}/{name}", f"{watched}/{name}", theirs, at_once, accounts)
    await owner.close()
    world.stop()
    await database.drop()


@contextlib.contextmanager
def cores(servers: Servers, ground: Ground) -> Iterator[set[int] | None]:
    """Those of the analysts; None: nobody has any of their own."""
    if not ground.standby:
        yield None
        return
    every = sorted(os.sched_getaffinity(0))
    ours, theirs = set(every[: (len(every) + 1) // 2]), set(every[(len(every) + 1) // 2 :])
    pids = [os.getpid(), *(server.child.pid or 0 for server in servers.embedded.values())]
    for pid in pids:
        pin(pid, ours)
    yield theirs
    for pid in pids:
        pin(pid, set(every))


@contextlib.contextmanager
def asked_of(
    servers: Servers, ground: Ground, home: Path, theirs: set[int] | None
) -> Iterator[tuple[str, str]]:
    """Where the analysts ask, and the server that answers, for its owner; without a database."""
    direct, behind = (servers.postgres(role, "").rstrip("/") for role in ("analyst", "owner"))
    if ground.pool:
        directory = home / "pool"
        directory.mkdir()
        pool = PgBouncer(directory, direct, "analyst")
        pool.start()
        yield pool.url("analyst"), behind
        pool.stop()
    elif ground.standby:
        standby = Standby(
            StatePaths(StatePaths.from_environment().home, home / "standby"), servers.postgres("owner")
        )
        standby.settings.update(_postgres(servers).settings)
        standby.prepare()
        standby.start()
        standby.ready()
        assert standby.child.pid
        pin(standby.child.pid, theirs or os.sched_getaffinity(0))
        yield f"postgresql://analyst@127.0.0.1:{standby.port}", f"postgresql://owner@127.0.0.1:{standby.port}"
        standby.stop()
    else:
        yield direct, behind


def _postgres(servers: Servers) -> PostgresServer:
    found = servers.embedded["postgres"]
    assert isinstance(found, PostgresServer)
    return found


def line(name: str, legs: Sequence[Leg]) -> str:
    rates = [leg.rate for leg in legs]
    records, seconds = sum(leg.records for leg in legs), sum(leg.seconds for leg in legs)
    spent = [
        1e6 * sum(each) / records
        for each in zip(*((one.projector, one.backend) for one in legs), strict=True)
    ]
    return (
        f"  {name:22}{median(rates):9,.0f}{min(rates):9,.0f}{max(rates):9,.0f}"
        f"{spent[0]:14.1f}{spent[1]:14.1f}{sum(leg.answers for leg in legs) / seconds:12.1f}"
    )


def told(ground: Ground, alone: Sequence[Leg], asked: Sequence[Leg]) -> str:
    usual = median(leg.rate for leg in alone)
    cost = 1 - median(leg.rate for leg in asked) / usual
    noise = max(abs(leg.rate - usual) for leg in alone) / usual
    return "\n".join(
        [
            f"{ground.name}: they cost {cost:.0%} of the throughput; one alone differs by up to {noise:.0%}",
            line("alone", alone),
            line(f"{ANALYSTS} analysts", asked),
        ]
    )


async def run(servers: Servers, given: argparse.Namespace, home: Path) -> list[dict[str, object]]:
    filled = Database(servers.postgres, FILLED)
    await filled.create()
    await fill(filled, given.transfers, given.accounts)
    print(
        f"{'':24}{'records/s':>9}{'least':>9}{'most':>9}"
        f"{'us, projector':>14}{'its backends':>14}{'answers/s':>12}"
    )
    found: list[dict[str, object]] = []
    for ground in (GROUNDS[number] for number in given.grounds):
        alone, asked = [], []
        async with benching(servers, ground, home) as bench:
            alone.append(await bench.leg(given.records, given.seconds, 0))
            for _ in range(given.rounds):
                alone.append(await bench.leg(given.records, given.seconds, 0))
                asked.append(await bench.leg(given.records, given.seconds, ANALYSTS))
        print(told(ground, alone, asked), flush=True)
        legs = {"alone": [asdict(one) for one in alone], "asked": [asdict(one) for one in asked]}
        found.append({"ground": asdict(ground), **legs})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--transfers", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=200_000, help="of one backlog (200000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="of one backlog at most (20)")
    parser.add_argument("--buffers", default="512MB", help="shared_buffers of Postgres (512MB)")
    every = range(len(GROUNDS))
    parser.add_argument("--grounds", type=int, nargs="+", default=every, choices=every)
    given = parser.parse_args()
    logs.configure("bench", "text", "ERROR")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before", flush=True)
    with tempfile.TemporaryDirectory(prefix="analysts-") as state:
        home = Path(state)
        home.chmod(0o755)  # Postgres may run as another user
        servers = Servers(StatePaths(StatePaths.from_environment().home, home), only_embedded=True)
        _postgres(servers).settings["shared_buffers"] = given.buffers
        with servers:
            make_template(servers.postgres)
            found = uvloop.run(run(servers, given, home))
    result = StatePaths.from_environment("bench").directory("analysts") / "result.json"
    result.write_text(json.dumps({"cores": os.cpu_count(), "load_before": load, "grounds": found}, indent=1))
    print(f"\n{result}")


if __name__ == "__main__":
    main()
