"""A feed of a test's own: started with an order, asked at its end what Kafka has acknowledged."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livebalance.stack.cluster import Cluster
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.process.service import create_service
from tests.acceptance.end_to_end.transfers_by_stage import Run

_STOPPED_WITHIN = 30.0  # seconds


class Feed:
    """`run` is known when it has ended."""

    def __init__(
        self, cluster: Cluster, number: int, *, accounts: int, seed: int, rate: float, plain: bool
    ) -> None:
        topics = cluster.plan.topics
        environment = {
            "LIVEBALANCE_KAFKA": cluster.kafka,
            "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
            "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
        }
        order = {"accounts": accounts, "rate": rate, "seed": seed}
        words = [word for name, value in order.items() for word in (f"--{name}", str(value))]
        words += ["--json", "--no-transactions"] if plain else ["--json"]
        self._seed, self._accounts = seed, accounts
        self.child: ChildProcess = create_service(cluster.paths, "feed", number, environment, words).child

    @property
    def run(self) -> Run:
        """What was acknowledged of it."""
        assert self.child.exit_code == 0, self.child.tail()
        said = json.loads(next(line for line in reversed(self.child.tail()) if '"run"' in line))
        return Run(said["run"], self._seed, said["transfers"], self._accounts)


@asynccontextmanager
async def feeding(
    cluster: Cluster, number: int, *, accounts: int, seed: int, rate: float, plain: bool = False
) -> AsyncIterator[Feed]:
    """`rate` transfers a second (each is two records), until the block ends; `number` tells feeds apart."""
    feed = Feed(cluster, number, accounts=accounts, seed=seed, rate=rate, plain=plain)
    feed.child.start()
    try:
        yield feed
    finally:
        await asyncio.to_thread(feed.child.stop, _STOPPED_WITHIN)
