"""A feed that a test starts with a seed and a rate, and asks at its end what Kafka acknowledged."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livebalance.stack.cluster import Cluster
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.process.service import create_service
from tests.acceptance.end_to_end.transfers_by_stage import FeedRun

_STOP_TIMEOUT = 30.0  # seconds


class FeedProcess:
    """A feed beside a cluster. `number` distinguishes the feeds of one cluster."""

    def __init__(
        self, cluster: Cluster, number: int, *, accounts: int, seed: int, rate: float, plain: bool
    ) -> None:
        topics = cluster.plan.topics
        environment = {
            "LIVEBALANCE_KAFKA": cluster.kafka,
            "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
            "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
        }
        options = {"accounts": accounts, "rate": rate, "seed": seed}
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        arguments += ["--json", "--no-transactions"] if plain else ["--json"]
        self._seed, self._accounts = seed, accounts
        self.child: ChildProcess = create_service(cluster.paths, "feed", number, environment, arguments).child

    @property
    def run(self) -> FeedRun:
        """The transfers that Kafka acknowledged. Known after the feed has ended."""
        assert self.child.exit_code == 0, self.child.tail()
        report = json.loads(next(line for line in reversed(self.child.tail()) if '"run"' in line))
        return FeedRun(report["run"], self._seed, report["transfers"], self._accounts)


@asynccontextmanager
async def run_feed(
    cluster: Cluster, number: int, *, accounts: int, seed: int, rate: float, plain: bool = False
) -> AsyncIterator[FeedProcess]:
    """Runs a feed while the block runs: `rate` transfers per second, each of two records.

    A `plain` feed produces without Kafka transactions.
    """
    feed = FeedProcess(cluster, number, accounts=accounts, seed=seed, rate=rate, plain=plain)
    feed.child.start()
    try:
        yield feed
    finally:
        await asyncio.to_thread(feed.child.stop, _STOP_TIMEOUT)
