"""What the chart promises an operator about pods, updates, budgets and hooks, checked in its renderings."""

import re
import tomllib
from math import ceil

import pytest
import yaml

from livebalance.feed.settings import FeedSettings
from livebalance.gateway.settings import Settings
from livebalance.recorder.settings import RecorderSettings
from livebalance.stack.paths import PROJECT
from tests.contract.chart import helm
from tests.contract.chart.objects import (
    COMPONENT,
    container,
    environment,
    of_kind,
    pod_templates,
    selects,
    walk_fields,
)

EACH_VALUE_SET = pytest.mark.parametrize("name", helm.VALUE_SETS)
SERVICES = {"recorder", "projector", "gateway", "feed"}
USER = 65532
CLOSING_SECONDS = 15  # that a gateway needs in addition to its drain


def test_pods_run_the_image_the_user_and_the_commands_of_the_dockerfile() -> None:
    dockerfile = (PROJECT / "deploy" / "Dockerfile").read_text()
    assert f"\nUSER {USER}:{USER}\n" in dockerfile
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version
    assert f'image.version="{version}"' in dockerfile
    minimal = pod_templates(helm.render_documents("minimal"))
    assert {container(pod["spec"])["image"] for pod in minimal.values()} == {f"livebalance:{version}"}
    everything = pod_templates(helm.render_documents("everything"))
    assert set(everything) == {*SERVICES, "migrations"}
    for service, pod in everything.items():
        module = "livebalance.readmodel" if service == "migrations" else f"livebalance.{service}"
        assert container(pod["spec"])["command"][:3] == ["python", "-m", module]


@EACH_VALUE_SET
def test_pods_are_restricted(name: str) -> None:
    """Pods satisfy the level `restricted` of Pod Security, and their root file system is read-only."""
    allowed_volumes = {"emptyDir", "projected", "secret", "configMap", "persistentVolumeClaim"}
    for pod in pod_templates(helm.render_documents(name)).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert (
            not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & spec.keys()
        )
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container(spec)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all(allowed_volumes & volume.keys() for volume in spec["volumes"])
        assert {port["containerPort"] for port in container(spec).get("ports", [])} <= {8000, 8001}
        assert not any("hostPort" in port for port in container(spec).get("ports", []))


@EACH_VALUE_SET
def test_probes_use_the_health_paths_of_services(name: str) -> None:
    for service, pod in pod_templates(helm.render_documents(name)).items():
        spec = container(pod["spec"])
        paths = {field: spec[field]["httpGet"]["path"] for field in spec if field.endswith("Probe")}
        live, ready = "/livez", "/readyz"
        if service in {"projector", "recorder"}:
            ready += "?exclude=halted"  # a rollout must not wait for an operator
        expected = {"startupProbe": live, "livenessProbe": live, "readinessProbe": ready}
        assert paths == (expected if service in SERVICES else {})
        assert {spec[field]["httpGet"]["port"] for field in spec if field.endswith("Probe")} <= {"operations"}
        ports = {port["name"]: port["containerPort"] for port in spec.get("ports", [])}
        expected_ports = {"http": 8000, "operations": 8001} if service == "gateway" else {"operations": 8000}
        assert ports == (expected_ports if paths else {})


@pytest.mark.parametrize("drain", [None, 0, 45.5])
@pytest.mark.parametrize("sleep", [1, 60])
def test_gateway_grace_period_covers_its_drain(drain: float | None, sleep: int) -> None:
    """`drain` is set as the delay and as the period of the drain; None removes both settings."""
    value = "null" if drain is None else str(drain)
    settings = ",".join(
        f"gateway.settings.LIVEBALANCE_{name}={value}"
        for name in ("DRAIN_PERIOD_SECONDS", "DRAIN_DELAY_SECONDS")
    )
    documents = helm.render_documents("minimal", "--set", f"{settings},gateway.preStopSeconds={sleep}")
    spec = pod_templates(documents)["gateway"]["spec"]
    fields = Settings.model_fields
    delay, period = (
        (fields["drain_delay_seconds"].default, fields["drain_period_seconds"].default)
        if drain is None
        else (drain, drain)
    )
    assert container(spec)["lifecycle"] == {"preStop": {"sleep": {"seconds": sleep}}}
    assert spec["terminationGracePeriodSeconds"] >= sleep + ceil(delay) + ceil(period) + CLOSING_SECONDS
    # The next gateway stops when this is available: not before the gateway that it replaces has drained.
    [gateway] = [each for name, each in of_kind("Deployment", documents).items() if name.endswith("-gateway")]
    assert gateway["spec"]["minReadySeconds"] >= sleep + ceil(delay) + ceil(period)


def test_gateway_grace_period_covers_a_drain_set_for_all_services() -> None:
    variable = "LIVEBALANCE_DRAIN_PERIOD_SECONDS"
    documents = helm.render_documents(
        "minimal", "--set", f"gateway.settings.{variable}=null,settings.{variable}=100"
    )
    spec = pod_templates(documents)["gateway"]["spec"]
    assert spec["terminationGracePeriodSeconds"] >= 100 + CLOSING_SECONDS


def test_grace_period_of_producers_covers_their_kafka_timeout() -> None:
    pods = pod_templates(helm.render_documents("everything"))
    for service, settings in (("recorder", RecorderSettings), ("feed", FeedSettings)):
        grace_period = pods[service]["spec"]["terminationGracePeriodSeconds"]
        assert grace_period > settings.model_fields["kafka_timeout_seconds"].default


@EACH_VALUE_SET
def test_deployments_start_a_new_pod_before_stopping_an_old_pod(name: str) -> None:
    for deployment in of_kind("Deployment", helm.render_documents(name)).values():
        is_feed = deployment["metadata"]["name"].endswith("-feed")
        rolling = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        assert deployment["spec"]["strategy"] == ({"type": "Recreate"} if is_feed else rolling)


@EACH_VALUE_SET
def test_projector_group_instance_id_is_the_name_of_its_pod(name: str) -> None:
    documents = helm.render_documents(name)
    [stateful_set] = of_kind("StatefulSet", documents).values()
    variables = container(stateful_set["spec"]["template"]["spec"])["env"]
    pod_name = {"fieldRef": {"fieldPath": "metadata.name"}}
    assert {variable["name"]: variable["valueFrom"] for variable in variables if "valueFrom" in variable} == {
        "LIVEBALANCE_NAME": pod_name,
        "LIVEBALANCE_GROUP_INSTANCE_ID": pod_name,
    }
    assert stateful_set["spec"]["serviceName"] in of_kind("Service", documents)
    assert stateful_set["spec"]["podManagementPolicy"] == "Parallel"
    others = [pod for service, pod in pod_templates(documents).items() if service != "projector"]
    assert not any("LIVEBALANCE_GROUP_INSTANCE_ID" in environment(pod["spec"], "x") for pod in others)


@EACH_VALUE_SET
def test_selectors_of_a_service_select_only_its_pods(name: str) -> None:
    documents = helm.render_documents(name)
    labels = {service: pod["metadata"]["labels"] for service, pod in pod_templates(documents).items()}

    def selected(selector: dict[str, str]) -> set[str]:
        return {service for service, pod_labels in labels.items() if selects(selector, pod_labels)}

    for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy"):
        for document in of_kind(kind, documents).values():
            selector = document["spec"].get("selector") or document["spec"].get("podSelector")
            component = document["metadata"]["labels"].get(COMPONENT)
            # The operator's pod is not part of the chart. An object without a component is for all pods.
            expected = {component} - {"operator"} if component else set(labels)
            assert selected(selector["matchLabels"]) == expected, kind
    for service_name, service in of_kind("Service", documents).items():
        assert selected(service["spec"]["selector"]) == {service_name.rpartition("-")[2]}


@EACH_VALUE_SET
def test_services_have_a_disruption_budget_of_one_pod_and_are_spread(name: str) -> None:
    documents = helm.render_documents(name)
    budgets = of_kind("PodDisruptionBudget", documents)
    pods = pod_templates(documents)
    replicated = {service for service in pods if service not in ("feed", "migrations")}
    assert {budget.rpartition("-")[2] for budget in budgets} == replicated
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets.values())
    values = yaml.safe_load(helm.values_path(name).read_text())
    topology_keys = values.get("spread", {}).get("topologyKeys")
    for service in replicated:
        constraints = pods[service]["spec"].get("topologySpreadConstraints") or []
        assert len(constraints) == (2 if topology_keys is None else len(topology_keys))
        assert all(
            selects(constraint["labelSelector"]["matchLabels"], pods[service]["metadata"]["labels"])
            for constraint in constraints
        )


def test_service_accounts_have_no_permissions() -> None:
    documents = helm.render_documents("everything")
    accounts = of_kind("ServiceAccount", documents)
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    used = {pod["spec"]["serviceAccountName"] for pod in pod_templates(documents).values()}
    assert used - accounts.keys() == {"default"}  # used by migrations, which run before our accounts exist
    kinds = {document["kind"] for document in documents}
    assert not kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


def hooks(documents: list[helm.Document]) -> list[tuple[int, helm.Document]]:
    """Returns the hooks with their weights, in the order in which Helm creates them."""
    hook = "helm.sh/hook"
    weighted = [
        (int(document["metadata"]["annotations"].get("helm.sh/hook-weight", 0)), document)
        for document in documents
        if hook in document["metadata"].get("annotations", {})
    ]
    return sorted(weighted, key=lambda item: item[0])


def test_migrations_run_before_the_release_with_the_secret_of_the_owner() -> None:
    documents = helm.render_documents("everything")
    [job] = of_kind("Job", documents).values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    policies = of_kind("NetworkPolicy", documents).values()
    [policy] = [policy for policy in policies if "annotations" in policy["metadata"]]
    assert selects(
        policy["spec"]["podSelector"]["matchLabels"], job["spec"]["template"]["metadata"]["labels"]
    )
    assert hooks(documents) == [(-1, policy), (0, job)]  # a cluster may deny all connections by default
    annotations = policy["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == job["metadata"]["annotations"]["helm.sh/hook"]
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"  # kept while the Job runs
    ours = {
        document["metadata"]["name"]
        for document in documents
        if document["kind"] in ("ServiceAccount", "Secret", "ConfigMap")
    }
    values = [value for _, value in walk_fields(job["spec"]["template"]["spec"]) if isinstance(value, str)]
    assert not ours & set(values), "the hook runs before the objects of the release exist"
    for service, pod in pod_templates(documents).items():
        [projected] = [
            volume["projected"] for volume in pod["spec"]["volumes"] if volume["name"] == "secrets"
        ]
        files = {item["path"] for source in projected["sources"] for item in source["secret"]["items"]}
        owner = {"livebalance_postgres_owner"}
        assert (files == owner) if service == "migrations" else not files & owner


@EACH_VALUE_SET
def test_object_names_of_a_long_release_name_are_valid_and_unique(name: str) -> None:
    release = "a-release-whose-name-is-as-long-as-helm-takes-it-000"
    result = helm.run_helm("template", release, str(helm.CHART), "--values", str(helm.values_path(name)))
    assert result.exit_code == 0, result.stderr
    names = [
        (document["kind"], document["metadata"]["name"])
        for document in yaml.safe_load_all(result.stdout)
        if document is not None
    ]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", object_name) for _, object_name in names)
