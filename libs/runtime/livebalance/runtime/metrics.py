"""What every process shows at /metrics, and how a metric has all its series before anything has happened."""

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from livebalance.runtime.config.settings import ServiceSettings

TYPE = CONTENT_TYPE_LATEST

info = Gauge(
    "livebalance_info", "Which service this is, and of which version. Always 1.", ["service", "version"]
)

Metric = TypeVar("Metric", bound=MetricWrapperBase)


def each(metric: Metric, values: Iterable[str]) -> Metric:
    """With a series for each value of its one label, from the beginning: a rate sees the first time too."""
    for value in values:
        metric.labels(value)
    return metric


def introduce(kind: type[ServiceSettings]) -> None:
    """This process is the service that is told by settings of this kind."""
    for one in entry_points(group="livebalance.settings"):
        if one.dist and one.load() is kind:
            info.labels(one.name, one.dist.version).set(1)


def shown() -> bytes:
    """All there is by now, as Prometheus reads it. To be called in the loop that owns what is shown."""
    return generate_latest()
