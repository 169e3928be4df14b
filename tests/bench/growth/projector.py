"""What a record costs a projector while accounts and lanes grow."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka.record import Balance, Transfer
from tests.bench.growth.curve import Curve, Growth
from tests.bench.peers.environment import fill_accounts
from tests.bench.peers.messages import account_id
from tests.bench.projection_turns import Run, Side, run_projector
from tests.integration.projector.pipeline import Pipeline, history
from tests.servers.database import Database

RECORDS = 40_000
MOST_ACCOUNTS_WRITTEN = 10_000  # accounts that get records, evenly spread over all
SECONDS = 60.0  # a run that takes longer is stopped


def make_records(accounts: int) -> list[Transfer | Balance]:
    """Returns RECORDS records, or a few more, of accounts in turn."""
    written = min(accounts, MOST_ACCOUNTS_WRITTEN)
    amounts = [(step * 7919) % 2001 - 1000 for step in range(-(-RECORDS // (2 * written)))]
    histories = [history(account_id(number * (accounts // written)), amounts) for number in range(written)]
    return [record for turn in zip(*histories, strict=True) for record in turn]


async def project(servers: Servers, directory: Path, name: str, lanes: int, accounts: int) -> list[Run]:
    """Projects the same records as often as the bench repeats a point. Each run begins with all accounts."""
    topics = Topics(f"{name}-transfers", f"{name}-balances", lanes)
    await topics.create(Broker(servers.kafka))
    records, runs = make_records(accounts), list[Run]()
    for repetition in range(3):
        database = Database(servers.postgres, f"{name}_{repetition}")
        await database.create()
        pipeline = Pipeline(servers.kafka, topics, database, servers.redis(), "growth:", directory)
        if not runs:
            await pipeline.write(records)
        if lanes == 1:  # accounts of several lanes would need the lanes of their keys
            await fill_accounts(database.url("owner"), accounts)
            await _vacuum(database)
        runs.append(
            await run_projector(pipeline, Side(name, Path.cwd()), len(records), SECONDS, database.name)
        )
        await database.drop()
    return runs


async def _vacuum(database: Database) -> None:
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute("vacuum analyze balance")
    await connection.close()


def _curves(sizes: Sequence[int], points: Sequence[Sequence[Run]]) -> list[Curve]:
    def cost(unit: str, name: str, of: str) -> Curve:
        medians = [statistics.median(getattr(run, of) / run.records * 1e6 for run in runs) for runs in points]
        return Curve(name, unit, list(zip(sizes, medians, strict=True)))

    return [
        cost("CPU µs a record", "projector", "cpu"),
        cost("CPU µs a record", "Postgres", "postgres_cpu"),
    ]


async def over_accounts(servers: Servers, directory: Path, sizes: Sequence[int]) -> Growth:
    points = [await project(servers, directory, f"accounts-{size}", 1, size) for size in sizes]
    return Growth("accounts", _curves(sizes, points))


async def over_lanes(servers: Servers, directory: Path, sizes: Sequence[int]) -> Growth:
    points = [await project(servers, directory, f"lanes-{size}", size, 1000) for size in sizes]
    return Growth("lanes of one projector", _curves(sizes, points))
