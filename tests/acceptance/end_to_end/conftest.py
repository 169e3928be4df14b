"""A cluster with short timeouts, so that a killed process is replaced soon."""

from collections.abc import Callable
from pathlib import Path

import pytest

from livebalance.runtime.process import failpoints
from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from tests.acceptance.end_to_end.end_to_end_check import failpoint_file

ACCOUNTS = 8
QUICK = {
    "projector": {"LIVEBALANCE_SESSION_TIMEOUT_MS": "2000"},
    "gateway": {
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "2",
        "LIVEBALANCE_DRAIN_DELAY_SECONDS": "0",
        "LIVEBALANCE_DRAIN_PERIOD_SECONDS": "0.2",
    },
}

NewCluster = Callable[[], Cluster]


@pytest.fixture(scope="module")
def new_cluster(paths: StatePaths, request: pytest.FixtureRequest) -> NewCluster:
    """Returns a function that makes a cluster without a feed, whose processes read failpoints from files."""
    serial = iter(range(1_000))

    def make() -> Cluster:
        own_paths = StatePaths(paths.home, paths.state / f"{Path(str(request.path)).stem}-{next(serial)}")
        names = [f"{kind}-{number}" for kind in ("gateway", "projector") for number in (1, 2)]
        failpoint_files = {
            name: {failpoints.VARIABLE: f"@{failpoint_file(own_paths, name)}"} for name in names
        }
        plan = ClusterPlan(
            feeds=0, page=False, port=free_port(), durable=False, environment={**QUICK, **failpoint_files}
        )
        return Cluster(own_paths, plan)

    return make
