"""Projectors of several checkouts in turns, each a process of its own, and COPY of the same rows."""

import asyncio
import io
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from livebalance.stack.process.process import ChildProcess
from tests.bench.process_cpu import cpu_seconds
from tests.integration.projector.pipeline import Pipeline
from tests.settings_environment import environment_of

_READ = "select coalesce(sum(transfers_next + balances_next), 0)::bigint from lane"
_STARTUP_SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """A run of one side: seconds and CPU seconds since its first committed batch."""

    records: int
    seconds: float
    cpu: float = 0.0
    postgres_cpu: float = 0.0
    published: int = 0

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.records / self.seconds


@dataclass(frozen=True)
class Side:
    """A checkout whose projector runs, and the channels of the sets that are followed meanwhile."""

    name: str
    checkout: Path
    sets: Sequence[str] = ()


async def run_projector(pipeline: Pipeline, side: Side, total: int, seconds: float, group: str) -> Run:
    """Runs the projector of a checkout in its own environment until it has applied `total` records."""
    settings = pipeline.settings("projector", projector_group=group, catch_up_threshold_seconds=3600.0)
    command = [str(side.checkout / ".livebalance/venv/bin/python"), "-m", "livebalance.projector"]
    child = ChildProcess(group, command, pipeline.directory / f"{group}.log", environment_of(settings))
    connection = await asyncpg.connect(pipeline.database.url("owner"))

    async def wait_for(count: int, deadline: float) -> int:
        while (applied := int(await connection.fetchval(_READ))) < count and time.monotonic() < deadline:  # noqa: ASYNC110 - SQL has no event
            await asyncio.sleep(0.01)
        return applied

    async with Redis.from_url(pipeline.redis) as redis:
        await redis.config_resetstat()
        await connection.execute(
            "insert into followed_set (channel, followed_until) select *, 'infinity' from unnest($1::text[])",
            side.sets,
        )
        child.start()
        try:
            first = await wait_for(1, time.monotonic() + _STARTUP_SECONDS)
            assert child.pid is not None, child.tail()
            processes = [child.pid], await _backends(connection)
            start, cpu = time.monotonic(), [cpu_seconds(pids) for pids in processes]
            applied = await wait_for(total, start + seconds)
            used = [cpu_seconds(pids) - before for pids, before in zip(processes, cpu, strict=True)]
            elapsed = time.monotonic() - start
            child.send(signal.SIGTERM)
            await asyncio.to_thread(child.stop)
            published = (await redis.info("commandstats")).get("cmdstat_publish", {"calls": 0})["calls"]
        finally:
            child.stop()
            await connection.close()
    return Run(applied - first, elapsed, used[0], used[1], published)


async def _backends(connection: "asyncpg.Connection[asyncpg.Record]") -> list[int]:
    """Returns the process that serves the projector's batches: its oldest. Others serve for a moment."""
    query = (
        "select pid from pg_stat_activity where usename = 'projector' and application_name = 'projector'"
        " order by backend_start limit 1"
    )
    return [row[0] for row in await connection.fetch(query)]


async def copy_rows(pipeline: Pipeline, records: int, batch_records: int) -> Run:
    """Copies the rows that a projector has written to empty tables, in as many transactions as batches.

    The copy of a transfer has the indexes of `transfer`; that of a balance, which a projector updates, has
    none. This is the ceiling: no fence, no offsets, no decoding, and no look-up of any row.
    """
    connection = await asyncpg.connect(pipeline.database.url("owner"))
    try:
        await connection.execute("create table copied_transfer (like transfer including all)")
        await connection.execute("create table copied_balance (like balance)")
        transfers, balances = await _batches(connection, records, batch_records)
        start = time.monotonic()
        for rows, accounts in zip(transfers, balances, strict=True):
            async with connection.transaction():
                await connection.copy_to_table("copied_transfer", source=io.BytesIO(rows), format="binary")
                await connection.copy_to_table("copied_balance", source=io.BytesIO(accounts), format="binary")
        return Run(len(transfers) * batch_records, time.monotonic() - start)
    finally:
        await connection.close()


async def _batches(
    connection: "asyncpg.Connection[asyncpg.Record]", records: int, batch_records: int
) -> tuple[list[bytes], list[bytes]]:
    """Returns the rows of each batch in COPY's binary format: half of its records are transfers.

    The other half changes as many accounts, or all of them.
    """
    per_batch = batch_records // 2
    transfers, balances = list[bytes](), list[bytes]()
    for number in range(records // batch_records):
        rows = f"select * from transfer order by revision, account_id limit {per_batch} offset"
        transfers.append(await _copied(connection, f"{rows} {number * per_batch}"))
        balances.append(await _copied(connection, f"select * from balance limit {per_batch}"))
    return transfers, balances


async def _copied(connection: "asyncpg.Connection[asyncpg.Record]", query: str) -> bytes:
    out = io.BytesIO()
    await connection.copy_from_query(query, output=out, format="binary")
    return out.getvalue()


def print_turns(names: Sequence[str], rounds: Sequence[Sequence[Run]], accounts: int) -> None:
    """Prints the median of each side, and the medians and ranges of the ratios within a round."""

    def ratios(index: int, other: int, value: Callable[[Run], float] = lambda run: run.rate) -> str:
        values = [value(runs[index]) / value(runs[other]) for runs in rounds]
        return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"

    print(f"\n{len(rounds)} rounds in turns, {accounts} accounts, one projector, medians")
    print(f"{'':24} {'records/s':>9} {'CPU µs/record':>14} {'Postgres':>9} {'messages':>9}")
    for name, runs in zip(names, zip(*rounds, strict=True), strict=True):
        rate = statistics.median(run.rate for run in runs)
        cpu, postgres = (
            statistics.median(used / run.records * 1e6 for run, used in pairs)
            for pairs in ([(run, run.cpu) for run in runs], [(run, run.postgres_cpu) for run in runs])
        )
        print(f"{name:24} {rate:9,.0f} {cpu:14.1f} {postgres:9.1f} {min(run.published for run in runs):9}")
    for turns in rounds:
        print("round:", *(f"{run.rate:9,.0f}" for run in turns))
    new, ceiling = 0, len(names) - 1
    for other in range(1, ceiling):
        print(f"{names[new]} / {names[other]}: {ratios(new, other)}")
    print(f"{names[new]} / {names[ceiling]}: {ratios(new, ceiling)}")
