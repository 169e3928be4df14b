"""Minutes under load, a gateway and a projector killed with -9 again and again; then all is compared.

`python -m tests.acceptance.soak [--minutes 10] [--rate 200] [--every 30] [--seed 1]`

The cluster is that of the demo: two gateways, two projectors, a balancer, real servers. A client listens at
each door. In the end records fed = rows of SQL = each client's log: ids, amounts, order, totals and balances.
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
from tests.acceptance.end_to_end.end_to_end_check import Proof
from tests.acceptance.end_to_end.recording_client import Listener

ACCOUNTS = 8
CHECK_EVERY = 5.0  # seconds between two looks at the clients' chains
BACK_WITHIN = 60.0  # seconds after a kill until every client is sent deltas again
SETTLED_WITHIN = 60.0

Recoveries = list[float]


async def kill_one_of_each(proof: Proof, chosen: Random) -> float:
    """Seconds until each client, of the killed gateway too, was sent deltas again."""
    began = time.monotonic()
    gateway, projector = (f"{kind}-{chosen.randint(1, 2)}" for kind in ("gateway", "projector"))
    async with proof.reconnecting(gateway, BACK_WITHIN):
        for name in (gateway, projector):
            proof.cluster.supervisors[name].kill()
    await proof.delivered(10, BACK_WITHIN)
    return time.monotonic() - began


async def trouble(proof: Proof, until: float, every: float, chosen: Random) -> Recoveries:
    recoveries: Recoveries = []
    next_kill = time.monotonic() + every / 2
    while (now := time.monotonic()) < until:
        if now >= next_kill:
            recoveries.append(await kill_one_of_each(proof, chosen))
            next_kill += every
        await asyncio.sleep(min(CHECK_EVERY, max(0.0, until - time.monotonic())))
        for listener in proof.listeners:
            listener.ledgers()  # raises if its chain broke
    return recoveries


async def soak(paths: StatePaths, minutes: float, rate: float, every: float, seed: int) -> dict[str, object]:
    """The summary of a run that passed. Raises AssertionErrors, maybe in a group."""
    async with Cluster(paths, ClusterPlan(feeds=0, page=False, port=free_port())) as cluster:
        proof = Proof(cluster, ACCOUNTS)
        async with proof.watched():
            async with proof.feeding(seed, rate):
                until = time.monotonic() + minutes * 60
                recoveries = await trouble(proof, until, every, Random(seed))
            stopped = time.monotonic()
            rows = await proof.settled(SETTLED_WITHIN)
            settled = time.monotonic() - stopped
            await proof.compare_again(rows)
            return {
                "minutes": minutes,
                "transfers_a_second": rate,
                "kills_of_a_gateway_and_a_projector": len(recoveries),
                "longest_until_all_clients_moved_again_s": round(max(recoveries, default=0.0), 1),
                "settled_after_the_feed_s": round(settled, 1),
                "records_fed": sum(2 * run.transfers for run in proof.runs),
                "rows_of_sql": sum(row.listed for row in rows),
                "client_logs": {one.name: _counts(one) for one in proof.listeners},
                "equal": True,  # or compare_again would have raised
            }


def _counts(listener: Listener) -> dict[str, int]:
    return {
        "transfers": sum(len(ledger.transfers) for ledger in listener.ledgers().values()),
        "deltas": listener.deltas,
        "connections": listener.connections,
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--minutes", type=float, default=10.0)
    asked.add_argument("--rate", type=float, default=200.0, help="transfers a second, two records each (200)")
    asked.add_argument("--every", type=float, default=30.0, help="seconds from kill to kill (30)")
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as state:
        Path(state).chmod(0o755)  # Postgres may run as another user
        paths = StatePaths(StatePaths.from_environment().home, Path(state))
        print(json.dumps(asyncio.run(soak(paths, **vars(given))), indent=1))


if __name__ == "__main__":
    main()
