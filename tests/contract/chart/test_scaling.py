"""Metrics by which autoscalers change the number of replicas."""

from livebalance.gateway.telemetry import metrics
from livebalance.projector.settings import ProjectorSettings
from livebalance.recorder.settings import RecorderSettings
from tests.contract.chart import helm
from tests.contract.chart.objects import of_kind


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
