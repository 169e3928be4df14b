"""By what replicas grow and shrink, where that is asked for."""

from livebalance.gateway.telemetry import metrics
from livebalance.projector.settings import ProjectorSettings
from livebalance.recorder.settings import RecorderSettings
from tests.contract.chart import helm
from tests.contract.chart.objects import of


def test_gateways_are_scaled_by_a_metric_that_they_have() -> None:
    [one] = of("HorizontalPodAutoscaler", helm.documents("everything")).values()
    [metric] = one["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in {each.name for each in metrics.SESSIONS.collect()}
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "1000000"}
    assert "replicas" not in of("Deployment", helm.documents("everything"))["livebalance-gateway"]["spec"]


def scaled(more: list[str]) -> dict[str, helm.Document]:
    return of("ScaledObject", helm.documents("minimal", *more))


def test_keda_looks_at_the_lag_of_the_groups_that_there_are() -> None:
    found = scaled(["--set", "recorder.keda.enabled=true,projector.keda.enabled=true"])
    asked = {
        name: [
            (each["metadata"]["consumerGroup"], each["metadata"]["topic"]) for each in one["spec"]["triggers"]
        ]
        for name, one in found.items()
    }
    recorder, projector = RecorderSettings(), ProjectorSettings()
    assert asked == {
        "livebalance-recorder": [(recorder.recorder_group, recorder.transfers_topic)],
        "livebalance-projector": [
            (projector.projector_group, projector.transfers_topic),
            (projector.projector_group, projector.balances_topic),
        ],
    }
    triggers = [each["metadata"] for one in found.values() for each in one["spec"]["triggers"]]
    assert {each["bootstrapServers"] for each in triggers} == {"kafka:9092"}
    assert {each["excludePersistentLag"] for each in triggers} == {"true"}  # a lane that is halted
    assert {one["spec"]["maxReplicaCount"] for one in found.values()} == {6}
    kinds = {one["spec"]["scaleTargetRef"]["kind"] for one in found.values()}
    assert kinds == {"Deployment", "StatefulSet"}
