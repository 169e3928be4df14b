"""What each service of a cluster is given."""

from pathlib import Path

import pytest

from livebalance.stack.paths import StatePaths
from livebalance.stack.plan import ClusterPlan, services
from livebalance.stack.servers.servers import Servers


def test_each_service_has_its_own_role_in_postgres_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KAFKA", "POSTGRES", "REDIS", "STACK"):
        monkeypatch.delenv(f"LIVEBALANCE_{name}", raising=False)
    paths = StatePaths(tmp_path, tmp_path / "state")
    given = {
        one.name: one.child.environment.get("LIVEBALANCE_POSTGRES", "").partition("@")[0]
        for one in services(paths, ClusterPlan(), Servers(paths), 8080)
    }
    assert given == {
        "gateway-1": "postgresql://gateway",
        "gateway-2": "postgresql://gateway",
        "projector-1": "postgresql://projector",
        "projector-2": "postgresql://projector",
        "recorder-1": "",
        "feed-1": "",
    }
