"""Network policies and the route: which pods may connect where, and how clients reach gateways."""

import yaml

from tests.contract.chart import helm
from tests.contract.chart.objects import of_kind

DESTINATIONS = {
    "recorder": {"dns", "kafka", "registry", "postgres"},
    "projector": {"dns", "kafka", "registry", "postgres", "redis"},
    "gateway": {"dns", "postgres", "redis", "jwks"},
    "feed": {"dns", "kafka", "registry"},
    "migrations": {"dns", "postgres"},
    "operator": {"dns", "kafka", "registry", "postgres", "redis"},
}


def test_network_policy_of_each_service_allows_only_its_destinations() -> None:
    values = {
        **yaml.safe_load((helm.CHART / "values.yaml").read_text())["networkPolicy"],
        **yaml.safe_load(helm.values_path("everything").read_text())["networkPolicy"],
    }
    policies = of_kind("NetworkPolicy", helm.render_documents("everything"))
    for_all_pods = policies.pop(helm.RELEASE)["spec"]
    assert for_all_pods["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in for_all_pods
    assert for_all_pods["ingress"] == [
        {"from": values["monitoring"], "ports": [{"port": "operations", "protocol": "TCP"}]}
    ]
    assert policies.keys() == {f"livebalance-{service}" for service in DESTINATIONS}
    for service, destinations in DESTINATIONS.items():
        spec = policies[f"livebalance-{service}"]["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        peers = [rule["to"] for rule in spec["egress"]]
        assert sorted(map(str, peers)) == sorted(
            str(values[destination]["to"]) for destination in destinations
        )
        from_clients = [{"from": values["clients"], "ports": [{"port": 8000, "protocol": "TCP"}]}]
        assert spec.get("ingress", []) == (from_clients if service == "gateway" else [])


def test_network_policy_without_optional_servers_opens_no_port_for_them() -> None:
    policies = of_kind("NetworkPolicy", helm.render_documents("minimal"))
    ports = {
        name: {port["port"] for rule in policy["spec"].get("egress", []) for port in rule["ports"]}
        for name, policy in policies.items()
    }
    assert ports["livebalance-recorder"] == {53, 9092, 9093, 5432}
    assert ports["livebalance-gateway"] == {53, 5432, 6379, 443}
    assert not of_kind("NetworkPolicy", helm.render_documents("reduced"))


def test_route_matches_client_paths_and_has_no_timeout() -> None:
    documents = helm.render_documents("everything")
    [route] = of_kind("HTTPRoute", documents).values()
    [rule] = route["spec"]["rules"]
    assert [match["path"]["value"] for match in rule["matches"]] == ["/ws", "/api"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    [backend] = rule["backendRefs"]
    service = of_kind("Service", documents)[backend["name"]]
    assert [port["port"] for port in service["spec"]["ports"]] == [backend["port"]]
