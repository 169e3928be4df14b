"""What the chart promises an operator, looked for in what it renders."""

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
from tests.contract.chart.objects import COMPONENT, chosen, container, environment, fields, of, pods

EVERY = pytest.mark.parametrize("name", helm.SETS)
SERVING = {"recorder", "projector", "gateway", "feed"}
USER = 65532
CLOSING = 15  # seconds that a gateway has beside its drain


def test_the_image_is_ours_and_so_are_its_user_and_its_commands() -> None:
    dockerfile = (PROJECT / "deploy" / "Dockerfile").read_text()
    assert f"\nUSER {USER}:{USER}\n" in dockerfile
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version
    assert f'image.version="{version}"' in dockerfile
    found = pods(helm.documents("minimal"))
    assert {container(pod["spec"])["image"] for pod in found.values()} == {f"livebalance:{version}"}
    everything = pods(helm.documents("everything"))
    assert set(everything) == {*SERVING, "migrations"}
    for service, pod in everything.items():
        module = "livebalance.readmodel" if service == "migrations" else f"livebalance.{service}"
        assert container(pod["spec"])["command"][:3] == ["python", "-m", module]


@EVERY
def test_pods_are_restricted(name: str) -> None:
    """All that Pod Security's level `restricted` asks for, and a root that cannot be written."""
    allowed = {"emptyDir", "projected", "secret", "configMap"}
    for pod in pods(helm.documents(name)).values():
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
        assert all(allowed & volume.keys() for volume in spec["volumes"])
        assert {port["containerPort"] for port in container(spec).get("ports", [])} <= {8000}
        assert not any("hostPort" in port for port in container(spec).get("ports", []))


@EVERY
def test_probes_ask_where_services_answer(name: str) -> None:
    for service, pod in pods(helm.documents(name)).items():
        one = container(pod["spec"])
        asked = {probe: one[probe]["httpGet"]["path"] for probe in one if probe.endswith("Probe")}
        live, ready = "/livez", "/readyz"
        expected = {"startupProbe": live, "livenessProbe": live, "readinessProbe": ready}
        assert asked == (expected if service in SERVING else {})
        assert (one["ports"] if asked else []) == ([{"name": "http", "containerPort": 8000}] if asked else [])


@pytest.mark.parametrize("drain", [None, 0, 45.5])
@pytest.mark.parametrize("sleep", [1, 60])
def test_a_gateway_has_time_to_drain(drain: float | None, sleep: int) -> None:
    """The same time is told for its notice; None: neither is told."""
    told = "null" if drain is None else str(drain)
    settings = ",".join(
        f"gateway.settings.LIVEBALANCE_{name}={told}"
        for name in ("DRAIN_PERIOD_SECONDS", "DRAIN_DELAY_SECONDS")
    )
    found = pods(helm.documents("minimal", "--set", f"{settings},gateway.preStopSeconds={sleep}"))["gateway"][
        "spec"
    ]
    default = Settings.model_fields
    notice, seconds = (
        (default["drain_delay_seconds"].default, default["drain_period_seconds"].default)
        if drain is None
        else (drain, drain)
    )
    assert container(found)["lifecycle"] == {"preStop": {"sleep": {"seconds": sleep}}}
    assert found["terminationGracePeriodSeconds"] >= sleep + ceil(notice) + ceil(seconds) + CLOSING


def test_a_drain_told_to_all_is_minded_as_well() -> None:
    found = pods(
        helm.documents(
            "minimal",
            "--set",
            "gateway.settings.LIVEBALANCE_DRAIN_PERIOD_SECONDS=null,settings.LIVEBALANCE_DRAIN_PERIOD_SECONDS=100",
        )
    )["gateway"]["spec"]
    assert found["terminationGracePeriodSeconds"] >= 100 + CLOSING


def test_recorders_have_time_to_end_a_transaction() -> None:
    for service, settings in (("recorder", RecorderSettings), ("feed", FeedSettings)):
        grace = pods(helm.documents("everything"))[service]["spec"]["terminationGracePeriodSeconds"]
        assert grace > settings.model_fields["kafka_timeout_seconds"].default


@EVERY
def test_no_update_takes_one_away_before_another_is_there(name: str) -> None:
    for deployment in of("Deployment", helm.documents(name)).values():
        strategy = deployment["spec"]["strategy"]
        feeds = deployment["metadata"]["name"].endswith("-feed")
        one = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        assert strategy == ({"type": "Recreate"} if feeds else one)


@EVERY
def test_a_projector_is_a_member_by_the_name_of_its_pod(name: str) -> None:
    found = helm.documents(name)
    [one] = of("StatefulSet", found).values()
    told = [each for each in container(one["spec"]["template"]["spec"])["env"] if "valueFrom" in each]
    mine = {"fieldRef": {"fieldPath": "metadata.name"}}
    assert {each["name"]: each["valueFrom"] for each in told} == {
        "LIVEBALANCE_NAME": mine,
        "LIVEBALANCE_GROUP_INSTANCE_ID": mine,
    }
    assert one["spec"]["serviceName"] in of("Service", found)
    assert one["spec"]["podManagementPolicy"] == "Parallel"
    others = [pod for service, pod in pods(found).items() if service != "projector"]
    assert not any("LIVEBALANCE_GROUP_INSTANCE_ID" in environment(pod["spec"], "x") for pod in others)


@EVERY
def test_what_selects_pods_selects_those_of_one_service(name: str) -> None:
    found = helm.documents(name)
    labels = {service: pod["metadata"]["labels"] for service, pod in pods(found).items()}

    def selected(selector: dict[str, str]) -> set[str]:
        return {service for service, mine in labels.items() if chosen(selector, mine)}

    for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy"):
        for one in of(kind, found).values():
            selector = one["spec"].get("selector") or one["spec"].get("podSelector")
            component = one["metadata"]["labels"].get(COMPONENT)
            expected = {component} - {"operator"} if component else set(labels)  # who is no pod of the chart
            assert selected(selector["matchLabels"]) == expected, kind
    for called, service in of("Service", found).items():
        assert selected(service["spec"]["selector"]) == {called.rpartition("-")[2]}


@EVERY
def test_each_service_may_lose_one_at_a_time_and_is_spread(name: str) -> None:
    found = helm.documents(name)
    budgets = of("PodDisruptionBudget", found)
    many = {service for service in pods(found) if service not in ("feed", "migrations")}
    assert {one.rpartition("-")[2] for one in budgets} == many
    assert all(one["spec"]["maxUnavailable"] == 1 for one in budgets.values())
    keys = yaml.safe_load(helm.values(name).read_text()).get("spread", {}).get("topologyKeys")
    for service in many:
        spread = pods(found)[service]["spec"].get("topologySpreadConstraints") or []
        assert len(spread) == (2 if keys is None else len(keys))
        assert all(
            chosen(each["labelSelector"]["matchLabels"], pods(found)[service]["metadata"]["labels"])
            for each in spread
        )


def test_accounts_may_do_nothing() -> None:
    found = helm.documents("everything")
    accounts = of("ServiceAccount", found)
    assert all(one["automountServiceAccountToken"] is False for one in accounts.values())
    used = {pod["spec"]["serviceAccountName"] for pod in pods(found).values()}
    assert used - accounts.keys() == {"default"}  # of migrations, which are there before our accounts
    assert not {one["kind"] for one in found} & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


def hooks(found: list[helm.Document]) -> list[tuple[int, helm.Document]]:
    """With their weights: in the order of which Helm makes them."""
    told = [
        (one["metadata"]["annotations"], one)
        for one in found
        if "helm.sh/hook" in one["metadata"].get("annotations", {})
    ]
    return sorted(
        [(int(notes.get("helm.sh/hook-weight", 0)), one) for notes, one in told], key=lambda one: one[0]
    )


def test_migrations_come_before_everything_and_have_what_is_theirs_alone() -> None:
    found = helm.documents("everything")
    [job] = of("Job", found).values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    [policy] = [one for one in found if one["kind"] == "NetworkPolicy" and "annotations" in one["metadata"]]
    assert (
        policy["spec"]["podSelector"]["matchLabels"].items()
        <= job["spec"]["template"]["metadata"]["labels"].items()
    )
    assert hooks(found) == [(-1, policy), (0, job)]  # where nothing may be reached, the way is there before
    told = policy["metadata"]["annotations"]
    assert told["helm.sh/hook"] == job["metadata"]["annotations"]["helm.sh/hook"]
    assert told["helm.sh/hook-delete-policy"] == "before-hook-creation"  # as long as the Job may run
    ours = {
        one["metadata"]["name"] for one in found if one["kind"] in ("ServiceAccount", "Secret", "ConfigMap")
    }
    values = [value for _, value in fields(job["spec"]["template"]["spec"]) if isinstance(value, str)]
    assert not ours & set(values), "what a release brings is not there yet"
    for service, pod in pods(found).items():
        [mounted] = [one["projected"] for one in pod["spec"]["volumes"] if one["name"] == "secrets"]
        files = {item["path"] for source in mounted["sources"] for item in source["secret"]["items"]}
        owner = {"livebalance_postgres_owner"}
        assert (files == owner) if service == "migrations" else not files & owner


@EVERY
def test_no_name_is_too_long_or_twice(name: str) -> None:
    long = "a-release-whose-name-is-as-long-as-helm-takes-it-000"
    answer = helm.asked("template", long, str(helm.CHART), "--values", str(helm.values(name)))
    assert answer.code == 0, answer.error
    found = [
        (one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(answer.out) if one is not None
    ]
    assert len(found) == len(set(found))
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", name) for _, name in found)
