"""Who may speak with whom, and how clients come in."""

import yaml

from tests.contract.chart import helm
from tests.contract.chart.objects import of

WAYS = {
    "recorder": {"dns", "kafka", "registry"},
    "projector": {"dns", "kafka", "registry", "postgres", "redis"},
    "gateway": {"dns", "postgres", "redis", "jwks"},
    "feed": {"dns", "kafka", "registry"},
    "migrations": {"dns", "postgres"},
    "operator": {"dns", "kafka", "registry", "postgres", "redis"},
}


def test_nobody_speaks_with_whom_it_need_not() -> None:
    told = {
        **yaml.safe_load((helm.CHART / "values.yaml").read_text())["networkPolicy"],
        **yaml.safe_load(helm.values("everything").read_text())["networkPolicy"],
    }
    policies = of("NetworkPolicy", helm.documents("everything"))
    everybody = policies.pop(helm.RELEASE)["spec"]
    assert everybody["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in everybody
    assert everybody["ingress"] == [
        {"from": told["monitoring"], "ports": [{"port": 8000, "protocol": "TCP"}]}
    ]
    assert policies.keys() == {f"livebalance-{service}" for service in WAYS}
    for service, ways in WAYS.items():
        spec = policies[f"livebalance-{service}"]["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        peers = [rule["to"] for rule in spec["egress"]]
        assert sorted(map(str, peers)) == sorted(str(told[way]["to"]) for way in ways)
        coming = [{"from": told["clients"], "ports": [{"port": 8000, "protocol": "TCP"}]}]
        assert spec.get("ingress", []) == (coming if service == "gateway" else [])


def test_a_way_that_no_setting_needs_is_closed() -> None:
    policies = of("NetworkPolicy", helm.documents("minimal"))
    open_ = {
        name: {port["port"] for rule in one["spec"].get("egress", []) for port in rule["ports"]}
        for name, one in policies.items()
    }
    assert open_["livebalance-recorder"] == {53, 9092, 9093}
    assert open_["livebalance-gateway"] == {53, 5432, 6379, 443}
    assert not of("NetworkPolicy", helm.documents("sparing"))


def test_the_route_is_for_clients_alone_and_lets_sockets_live() -> None:
    [one] = of("HTTPRoute", helm.documents("everything")).values()
    [rule] = one["spec"]["rules"]
    assert [each["path"]["value"] for each in rule["matches"]] == ["/ws", "/api"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    [to] = rule["backendRefs"]
    service = of("Service", helm.documents("everything"))[to["name"]]
    assert [port["port"] for port in service["spec"]["ports"]] == [to["port"]]
