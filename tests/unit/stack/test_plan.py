"""The environment of each service of a cluster."""

from pathlib import Path

import pytest

from livebalance.stack.paths import StatePaths
from livebalance.stack.plan import ClusterPlan, services
from livebalance.stack.servers.servers import Servers


def test_services_get_a_role_of_postgres_only_if_they_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KAFKA", "POSTGRES", "REDIS", "STACK"):
        monkeypatch.delenv(f"LIVEBALANCE_{name}", raising=False)
    paths = StatePaths(tmp_path, tmp_path / "state")
    roles = {
        service.name: service.child.environment.get("LIVEBALANCE_POSTGRES", "").partition("@")[0]
        for service in services(paths, ClusterPlan(), Servers(paths), 8080)
    }
    assert roles == {
        "gateway-1": "postgresql://gateway",
        "gateway-2": "postgresql://gateway",
        "projector-1": "postgresql://projector",
        "projector-2": "postgresql://projector",
        "recorder-1": "postgresql://recorder",
        "feed-1": "",
    }
