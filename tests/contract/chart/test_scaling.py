"""Metrics by which autoscalers change the number of replicas."""

import copy

import pytest

from livebalance.gateway.telemetry import metrics
from livebalance.projector.settings import ProjectorSettings
from livebalance.recorder.settings import RecorderSettings
from tests.contract.chart import cluster, helm
from tests.contract.chart.helm import Document
from tests.contract.chart.objects import of_kind

SERVICES = ("gateway", "recorder", "projector")
SCALED_OBJECTS = ("--set", "recorder.keda.enabled=true,projector.keda.enabled=true")
OWNED = {"meta.helm.sh/release-name": helm.RELEASE, "meta.helm.sh/release-namespace": helm.RELEASE}
AUTOSCALED = "gateway.autoscaling.enabled=true,recorder.keda.enabled=true,projector.keda.enabled=true"


def workloads(*options: str) -> dict[str, Document]:
    documents = helm.render_documents("minimal", *options)
    return of_kind("Deployment", documents) | of_kind("StatefulSet", documents)


def replicas_after_upgrade(live: int | None, values: str) -> dict[str, int | None]:
    """Returns the replicas of each service in the manifest of an upgrade. None: it has no such field.

    Each workload has `live` replicas in the cluster. None: the cluster does not have the workloads.
    """
    present = [] if live is None else copy.deepcopy(list(workloads().values()))
    for workload in present:
        workload["spec"]["replicas"] = live
        workload["metadata"]["annotations"] = OWNED
    with cluster.serving(helm.render_documents("everything", *SCALED_OBJECTS), present) as url:
        options = ("--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", url)
        upgraded = workloads("--set", values, *options)
    return {
        name.removeprefix("livebalance-"): workload["spec"].get("replicas")
        for name, workload in upgraded.items()
    }


@pytest.mark.parametrize("live", [7, 0], ids=["scaled", "stopped for a restore"])
def test_upgrade_with_autoscalers_keeps_the_replicas_of_the_cluster(live: int) -> None:
    assert replicas_after_upgrade(live, AUTOSCALED) == dict.fromkeys(SERVICES, live)


def test_installation_with_autoscalers_leaves_the_replicas_to_them() -> None:
    assert replicas_after_upgrade(None, AUTOSCALED) == dict.fromkeys(SERVICES)


def test_upgrade_without_autoscalers_sets_the_replicas_of_the_values() -> None:
    replicas = replicas_after_upgrade(7, "gateway.replicas=3")
    assert replicas == {"gateway": 3, "recorder": 2, "projector": 2}


def test_gateway_autoscaler_uses_a_metric_of_gateways() -> None:
    documents = helm.render_documents("everything")
    [autoscaler] = of_kind("HorizontalPodAutoscaler", documents).values()
    [metric] = autoscaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in {family.name for family in metrics.SESSIONS.collect()}
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "1000000"}
    assert "replicas" not in of_kind("Deployment", documents)["livebalance-gateway"]["spec"]


def test_keda_triggers_use_the_lag_of_the_services_consumer_groups() -> None:
    documents = helm.render_documents(
        "minimal", "--set", "recorder.keda.enabled=true,projector.keda.enabled=true"
    )
    scaled_objects = of_kind("ScaledObject", documents)
    triggers = {
        name: [trigger["metadata"] for trigger in scaled_object["spec"]["triggers"]]
        for name, scaled_object in scaled_objects.items()
    }
    recorder, projector = RecorderSettings(), ProjectorSettings()
    groups_and_topics = {
        name: [(trigger["consumerGroup"], trigger["topic"]) for trigger in triggers_of_service]
        for name, triggers_of_service in triggers.items()
    }
    assert groups_and_topics == {
        "livebalance-recorder": [(recorder.recorder_group, recorder.transfers_topic)],
        "livebalance-projector": [
            (projector.projector_group, projector.transfers_topic),
            (projector.projector_group, projector.balances_topic),
        ],
    }
    for trigger in [trigger for triggers_of_service in triggers.values() for trigger in triggers_of_service]:
        assert trigger["bootstrapServers"] == "kafka:9092"
        assert trigger["excludePersistentLag"] == "true"  # the lag of a halted lane
    specs = [scaled_object["spec"] for scaled_object in scaled_objects.values()]
    assert {spec["maxReplicaCount"] for spec in specs} == {6}
    assert {spec["scaleTargetRef"]["kind"] for spec in specs} == {"Deployment", "StatefulSet"}
