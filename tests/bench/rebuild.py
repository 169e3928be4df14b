"""Seconds of each phase of `livebalance rebuild`, and how long its swap holds the lanes.

`python -m tests.bench.rebuild [--records 1000000] [--accounts 100000] [--different 1000]`

One projector keeps running on real Kafka and Postgres. The command runs twice: with an untouched projection,
then with `--swap` after a row of each of some accounts was deleted.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from livebalance.runtime import logs
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.bench.bench_servers import run_on_servers
from tests.bench.projection import make_records, new_database
from tests.integration.projector.pipeline import Pipeline
from tests.settings_environment import environment_of

_HOLD = "holding the lanes"
_DELETE = """
delete from transfer where (account_id, revision) in
       (select account_id, min(revision) from transfer group by account_id order by account_id limit $1)
"""
_SIZE = "select pg_size_pretty(pg_database_size(current_database()))"


async def run_rebuild(environment: Mapping[str, str], *words: str) -> tuple[dict[str, Any], int]:
    """Runs the command, prints its phases, and returns its report and its exit code."""
    command = [sys.executable, "-m", "livebalance.cli", "rebuild", "--json", *words]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    start = now = time.monotonic()
    seconds, phase, held = defaultdict[str, float](float), "starting", 0.0
    async for line in process.stderr:
        then, now = now, time.monotonic()
        seconds[phase] += now - then
        phase = json.loads(line)["phase"]
        held = now if phase == _HOLD else held
    report = json.loads(await process.stdout.read())
    code = await process.wait()
    end = time.monotonic()
    seconds[phase] += end - now
    print(f"  {', '.join(f'{name} {spent:.1f} s' for name, spent in seconds.items())}")
    print(f"  {end - start:.1f} s in all" + (f"; the lanes were held for {end - held:.1f} s" if held else ""))
    return report, code


async def benchmark(servers: Servers, count: int, accounts: int, different: int) -> None:
    topics = Topics()
    await topics.create(Broker(servers.kafka))
    records = make_records(count, accounts)
    async with new_database(servers, "bench_rebuild") as database:
        pipeline = Pipeline(servers.kafka, topics, database, servers.redis(), "bench:", Path())
        await pipeline.write(records)
        async with pipeline.running(reconciliation_rate=0):
            start = time.monotonic()
            await pipeline.wait_until_applied(records, 1800)
            print(f"{len(records):,} records of {accounts:,} accounts: applied live in", end=" ")
            print(f"{time.monotonic() - start:.0f} s, {(await pipeline.query(_SIZE))[0][0]}")
            environment = {
                **os.environ,
                **environment_of(pipeline.settings()),
                "LIVEBALANCE_POSTGRES_OWNER": database.url("owner"),
            }
            print("untouched:", flush=True)
            report, code = await run_rebuild(environment)
            assert (report["equal"], code) == (True, 0), report
            await pipeline.query(_DELETE, different)
            print(f"{different:,} accounts differ, --swap:", flush=True)
            report, code = await run_rebuild(environment, "--swap", "--reason", "bench")
            assert (report["accounts_different"], code) == (different, 0), report
    print(f"load average {psutil.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--different", type=int, default=1_000)
    arguments = parser.parse_args()
    logs.configure("bench", "text", "CRITICAL")
    run_on_servers(
        lambda servers: benchmark(servers, arguments.records, arguments.accounts, arguments.different),
        "kafka",
        "postgres",
        "redis",
        durable=True,
    )


if __name__ == "__main__":
    main()
