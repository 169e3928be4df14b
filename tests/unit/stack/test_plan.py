"""The environment of each service of a cluster."""

import json
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


@pytest.mark.parametrize("named", [None, '["demo.example"]'])
def test_gateways_of_a_demo_answer_only_to_names_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    """The page has the name localhost or 127.0.0.1, and each gateway has an address of its own."""
    for name in ("KAFKA", "POSTGRES", "REDIS", "STACK", "ALLOWED_HOSTS"):
        monkeypatch.delenv(f"LIVEBALANCE_{name}", raising=False)
    if named:
        monkeypatch.setenv("LIVEBALANCE_ALLOWED_HOSTS", named)
    paths = StatePaths(tmp_path, tmp_path / "state")
    gateways = list(services(paths, ClusterPlan(gateways=2), Servers(paths), 8080))[:2]
    for gateway in gateways:
        hosts = json.loads(gateway.child.environment["LIVEBALANCE_ALLOWED_HOSTS"])
        own = {"localhost", *(gateway.host for gateway in gateways)}
        assert set(hosts) == ({"demo.example"} if named else own)
