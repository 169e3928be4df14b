"""Minutes of load in which a gateway and a projector are killed repeatedly; then all stages are compared.

`python -m tests.acceptance.soak [--minutes 10] [--rate 200] [--every 30] [--seed 1]`

The cluster is that of the demo: two gateways, two projectors, a balancer, real servers. A client is connected
to each gateway, and one to the balancer. At the end, records fed = rows in Postgres = each client's log: ids,
amounts, order, totals and balances.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from random import Random

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from tests.acceptance.end_to_end.end_to_end_check import EndToEndCheck
from tests.acceptance.end_to_end.recording_client import RecordingClient

ACCOUNTS = 8
CHECK_INTERVAL = 5.0  # seconds between two checks of the clients' logs
RECOVERY_TIMEOUT = 60.0  # seconds after a kill until every client receives deltas again
COMPLETE_TIMEOUT = 60.0


async def kill_gateway_and_projector(check: EndToEndCheck, random: Random) -> float:
    """Kills a gateway and a projector. Returns the seconds until every client receives deltas again."""
    start = time.monotonic()
    gateway, projector = (f"{kind}-{random.randint(1, 2)}" for kind in ("gateway", "projector"))
    async with check.expect_reconnect(gateway, RECOVERY_TIMEOUT):
        for name in (gateway, projector):
            check.cluster.supervisors[name].kill()
    await check.wait_for_deltas(10, RECOVERY_TIMEOUT)
    return time.monotonic() - start


async def kill_repeatedly(check: EndToEndCheck, until: float, every: float, random: Random) -> list[float]:
    """Kills processes every `every` seconds until a monotonic time, and returns the seconds of each recovery.

    Raises Violation as soon as a client's log violates a rule.
    """
    recoveries: list[float] = []
    next_kill = time.monotonic() + every / 2
    while (now := time.monotonic()) < until:
        if now >= next_kill:
            recoveries.append(await kill_gateway_and_projector(check, random))
            next_kill += every
        await asyncio.sleep(min(CHECK_INTERVAL, max(0.0, until - time.monotonic())))
        for client in check.clients:
            client.checked_logs()
    return recoveries


async def soak(paths: StatePaths, minutes: float, rate: float, every: float, seed: int) -> dict[str, object]:
    """Returns the summary of a run that passed. Raises AssertionError, maybe in an ExceptionGroup."""
    async with Cluster(paths, ClusterPlan(feeds=0, page=False, port=free_port())) as cluster:
        check = EndToEndCheck(cluster, ACCOUNTS)
        async with check.running_clients():
            async with check.feeding(seed, rate):
                until = time.monotonic() + minutes * 60
                recoveries = await kill_repeatedly(check, until, every, Random(seed))
            stopped_at = time.monotonic()
            rows = await check.wait_until_complete(COMPLETE_TIMEOUT)
            completion = time.monotonic() - stopped_at
            await check.compare_all(rows)
            return {
                "minutes": minutes,
                "transfers_per_second": rate,
                "kills_of_a_gateway_and_a_projector": len(recoveries),
                "longest_recovery_of_all_clients_s": round(max(recoveries, default=0.0), 1),
                "complete_after_the_feed_s": round(completion, 1),
                "records_fed": sum(2 * run.transfers for run in check.runs),
                "rows_in_postgres": sum(row.transfer_count for row in rows),
                "client_logs": {client.name: _counts(client) for client in check.clients},
                "equal": True,  # else compare_all has raised
            }


def _counts(client: RecordingClient) -> dict[str, int]:
    return {
        "transfers": sum(len(log.transfers) for log in client.checked_logs().values()),
        "deltas": client.deltas,
        "connections": client.connections,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--rate", type=float, default=200.0, help="transfers per second, two records each (200)"
    )
    parser.add_argument("--every", type=float, default=30.0, help="seconds between kills (30)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as state:
        Path(state).chmod(0o755)  # Postgres may run as another user
        paths = StatePaths(StatePaths.from_environment().home, Path(state))
        print(json.dumps(asyncio.run(soak(paths, **vars(arguments))), indent=1))


if __name__ == "__main__":
    main()
