"""The pod and the commands that docs/kubernetes.md shows an operator fit what the chart renders."""

import json
import re
import shlex

import kubernetes_validate
import pytest
import yaml

from livebalance.runtime.config.environment import known_variables
from tests.contract.chart import helm, kubernetes_page
from tests.contract.chart.objects import container, of_kind, selects


def operator_pod() -> helm.Document:
    """Returns the pod that `kubectl run` makes of the command on the page and of operator.json."""
    commands = kubernetes_page.shell_commands().splitlines()
    [command] = [line for line in commands if " run operator " in line]
    words = shlex.split(command)
    options = dict(word.removeprefix("--").split("=", 1) for word in words if re.match(r"--\w[^ ]*=", word))
    assert options["override-type"] == "strategic"  # merges containers by their names
    [overrides] = kubernetes_page.code_blocks("json")
    pod: helm.Document = json.loads(overrides)
    container(pod["spec"])["image"] = options["image"]
    container(pod["spec"])["args"] = words[words.index("--") + 1 :]
    pod["metadata"]["name"] = words[words.index("run") + 1]
    pod["spec"]["restartPolicy"] = options["restart"]
    return {"apiVersion": "v1", "kind": "Pod", **pod}


@pytest.mark.parametrize("version", helm.KUBERNETES_VERSIONS)
def test_operator_pod_in_each_version_of_kubernetes_is_valid(version: str) -> None:
    pod = operator_pod()
    assert container(pod["spec"])["name"] == pod["metadata"]["name"], "else kubectl adds a second container"
    kubernetes_validate.validate(pod, version, strict=True)


def test_operator_pod_has_the_restrictions_of_the_chart() -> None:
    [job] = of_kind("Job", helm.render_documents("minimal")).values()
    spec, job_spec = operator_pod()["spec"], job["spec"]["template"]["spec"]
    for name in ("runAsNonRoot", "runAsUser", "seccompProfile"):
        assert spec["securityContext"][name] == job_spec["securityContext"][name]
    for name in ("allowPrivilegeEscalation", "capabilities"):
        actual, expected = container(spec)["securityContext"], container(job_spec)["securityContext"]
        assert actual[name] == expected[name]
    assert spec["automountServiceAccountToken"] is False
    assert "volumes" not in spec


def test_operator_pod_runs_our_image_and_reaches_all_servers() -> None:
    [values, *_] = [yaml.safe_load(text) for text in kubernetes_page.our_values()]
    assert container(operator_pod()["spec"])["image"].partition(":")[0] == values["image"]["repository"]
    policies = of_kind("NetworkPolicy", helm.render_documents("minimal"))
    selecting = {
        name
        for name, policy in policies.items()
        if selects(policy["spec"]["podSelector"]["matchLabels"], operator_pod()["metadata"]["labels"])
    }
    assert selecting == {"livebalance", "livebalance-operator"}
    rules = policies["livebalance-operator"]["spec"]["egress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == {53, 5432, 6379, 9092, 9093}


def test_operator_pod_uses_known_variables_and_existing_secrets() -> None:
    keys = {
        (name, key)
        for name, rest in re.findall(r"create secret generic (\S+)(.*)", kubernetes_page.shell_commands())
        for key in re.findall(r"--from-literal=(\S+?)=", rest)
    }
    for variable in container(operator_pod()["spec"])["env"]:
        assert variable["name"] in known_variables()
        secret = variable.get("valueFrom", {}).get("secretKeyRef")
        assert secret is None or (secret["name"], secret["key"]) in keys


def test_restore_commands_name_rendered_objects() -> None:
    documents = helm.render_documents("minimal", "--set", "projector.keda.enabled=true")
    rendered = {f"{document['kind']}/{document['metadata']['name']}".lower() for document in documents}
    commands = kubernetes_page.shell_commands().splitlines()
    lines = [line for line in commands if " scale " in line or " annotate " in line]
    named = [re.findall(r"\S+/livebalance-\S+", line) for line in lines]
    scaled = ["statefulset/livebalance-projector", "deployment/livebalance-gateway"]
    annotated = ["scaledobject/livebalance-projector"]
    assert named == [annotated, scaled, scaled, annotated]
    assert rendered >= {*scaled, *annotated}


def test_values_of_prometheus_adapter_name_the_metric_of_the_gateway_autoscaler() -> None:
    [values] = [yaml.safe_load(text) for text in kubernetes_page.other_values()]
    [rule] = values["rules"]["custom"]
    [autoscaler] = of_kind("HorizontalPodAutoscaler", helm.render_documents("everything")).values()
    [metric] = autoscaler["spec"]["metrics"]
    assert rule["seriesQuery"].startswith(f"{metric['pods']['metric']['name']}{{")
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
