"""What the page has an operator make and type in a cluster fits what the chart renders."""

import json
import re
import shlex

import kubernetes_validate
import pytest
import yaml

from livebalance.runtime.config.environment import known_variables
from tests.contract.chart import helm, page
from tests.contract.chart.objects import chosen, container, of


def pod() -> helm.Document:
    """As `kubectl run` makes it of what is typed and of operator.json."""
    [typed] = [line for line in page.typed().splitlines() if " run operator " in line]
    words = shlex.split(typed)
    options = dict(word.removeprefix("--").split("=", 1) for word in words if re.match(r"--\w[^ ]*=", word))
    assert options["override-type"] == "strategic"  # containers are merged by their name
    [more] = page.blocks("json")
    found: helm.Document = json.loads(more)
    container(found["spec"])["image"] = options["image"]
    container(found["spec"])["args"] = words[words.index("--") + 1 :]
    found["metadata"]["name"] = words[words.index("run") + 1]
    found["spec"]["restartPolicy"] = options["restart"]
    return {"apiVersion": "v1", "kind": "Pod", **found}


@pytest.mark.parametrize("version", helm.VERSIONS)
def test_kubernetes_takes_the_pod(version: str) -> None:
    assert container(pod()["spec"])["name"] == pod()["metadata"]["name"], (
        "else it would be a second container"
    )
    kubernetes_validate.validate(pod(), version, strict=True)


def test_the_pod_is_restricted_as_ours_are() -> None:
    [ours] = of("Job", helm.documents("minimal")).values()
    spec, asked = pod()["spec"], ours["spec"]["template"]["spec"]
    for name in ("runAsNonRoot", "runAsUser", "seccompProfile"):
        assert spec["securityContext"][name] == asked["securityContext"][name]
    for name in ("allowPrivilegeEscalation", "capabilities"):
        assert container(spec)["securityContext"][name] == container(asked)["securityContext"][name]
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec


def test_the_pod_runs_our_image_and_reaches_what_it_has_to() -> None:
    [mine, *_] = [yaml.safe_load(text) for text in page.values()]
    assert container(pod()["spec"])["image"].partition(":")[0] == mine["image"]["repository"]
    policies = of("NetworkPolicy", helm.documents("minimal"))
    chosen_by = {
        name
        for name, one in policies.items()
        if chosen(one["spec"]["podSelector"]["matchLabels"], pod()["metadata"]["labels"])
    }
    assert chosen_by == {"livebalance", "livebalance-operator"}
    ways = policies["livebalance-operator"]["spec"]["egress"]
    assert {port["port"] for way in ways for port in way["ports"]} == {53, 5432, 6379, 9092, 9093}


def test_the_pod_is_told_what_there_is() -> None:
    keys = {
        (name, key)
        for name, rest in re.findall(r"create secret generic (\S+)(.*)", page.typed())
        for key in re.findall(r"--from-literal=(\S+?)=", rest)
    }
    for one in container(pod()["spec"])["env"]:
        assert one["name"] in known_variables()
        secret = one.get("valueFrom", {}).get("secretKeyRef")
        assert secret is None or (secret["name"], secret["key"]) in keys


def test_what_is_stopped_for_a_restore_is_there() -> None:
    more = ("--set", "projector.keda.enabled=true")
    made = {
        f"{one['kind']}/{one['metadata']['name']}".lower(): one for one in helm.documents("minimal", *more)
    }
    lines = [line for line in page.typed().splitlines() if " scale " in line or " annotate " in line]
    named = [re.findall(r"\S+/livebalance-\S+", line) for line in lines]
    both = ["statefulset/livebalance-projector", "deployment/livebalance-gateway"]
    keda = ["scaledobject/livebalance-projector"]
    assert named == [keda, both, both, keda]
    assert made.keys() >= {*both, *keda}


def test_the_adapter_is_told_of_the_metric_that_gateways_are_scaled_by() -> None:
    [told] = [yaml.safe_load(text) for text in page.values_of_others()]
    [rule] = told["rules"]["custom"]
    [scaler] = of("HorizontalPodAutoscaler", helm.documents("everything")).values()
    [metric] = scaler["spec"]["metrics"]
    assert rule["seriesQuery"].startswith(f"{metric['pods']['metric']['name']}{{")
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
