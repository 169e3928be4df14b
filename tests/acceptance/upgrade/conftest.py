"""A cluster like a deployment, smaller: what is restarted is not the only one of its kind."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan

ACCOUNTS = 8
READY_WITHIN, STOPPED_WITHIN = 60.0, 30.0  # seconds

NewCluster = Callable[..., Cluster]


@pytest.fixture
def new_cluster(paths: StatePaths, request: pytest.FixtureRequest) -> NewCluster:
    """Without a feed: each run has one of its own. The environment is as in a plan."""

    def make(environment: Mapping[str, Mapping[str, str]], gateways: int = 2, recorders: int = 1) -> Cluster:
        plan = ClusterPlan(
            feeds=0,
            recorders=recorders,
            gateways=gateways,
            page=False,
            port=free_port(),
            durable=False,
            environment=environment,
        )
        return Cluster(StatePaths(paths.home, paths.state / request.node.name), plan)

    return make


async def started(cluster: Cluster, name: str, environment: Mapping[str, str] | None = None) -> None:
    """Ready when it returns; for this one run with these variables besides its own."""
    cluster.supervisors[name].start(environment)
    async with asyncio.timeout(READY_WITHIN):
        while not await cluster.services[name].is_ready():  # noqa: ASYNC110 - HTTP tells only who asks
            await asyncio.sleep(0.05)


async def stopped(cluster: Cluster, name: str) -> None:
    """By SIGTERM, and then by itself."""
    watch = cluster.supervisors[name]
    await watch.stop(STOPPED_WITHIN)
    assert watch.child.exit_code == 0, watch.child.tail()
