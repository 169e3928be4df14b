"""Fixtures: a small cluster in which no restarted process is the only process of its service."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan

ACCOUNTS = 8
START_TIMEOUT, STOP_TIMEOUT = 60.0, 60.0  # seconds

NewCluster = Callable[..., Cluster]


@pytest.fixture
def new_cluster(paths: StatePaths, request: pytest.FixtureRequest) -> NewCluster:
    """Returns a function that makes a cluster without a feed, because tests start feeds themselves.

    `environment` has the form of `ClusterPlan.environment`.
    """

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


async def start_process(cluster: Cluster, name: str, environment: Mapping[str, str] | None = None) -> None:
    """Starts a process with additional variables for this run only, and returns when it is ready."""
    cluster.supervisors[name].start(environment)
    async with asyncio.timeout(START_TIMEOUT):
        while not await cluster.services[name].is_ready():  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(0.05)


async def stop_process(cluster: Cluster, name: str) -> None:
    """Sends SIGTERM to a process, and asserts that it exits with status 0 within STOP_TIMEOUT."""
    supervisor = cluster.supervisors[name]
    await supervisor.stop(STOP_TIMEOUT)
    assert supervisor.child.exit_code == 0, supervisor.child.tail()
