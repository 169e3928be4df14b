"""The metric that every process exposes at /metrics, and helpers for metrics of the services."""

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from livebalance.runtime.config.settings import ServiceSettings

CONTENT_TYPE = CONTENT_TYPE_LATEST

info = Gauge(
    "livebalance_info", "Name and version of the service. The value is always 1.", ["service", "version"]
)

Metric = TypeVar("Metric", bound=MetricWrapperBase)


def init_labels(metric: Metric, values: Iterable[str]) -> Metric:
    """Creates a series at 0 for each value of the only label, so that `rate()` sees the first increase."""
    for value in values:
        metric.labels(value)
    return metric


def set_info(settings_type: type[ServiceSettings]) -> None:
    """Sets `livebalance_info` to the service that has this settings class."""
    for entry_point in entry_points(group="livebalance.settings"):
        if entry_point.dist and entry_point.load() is settings_type:
            info.labels(entry_point.name, entry_point.dist.version).set(1)


def render() -> bytes:
    """Returns all metrics in Prometheus' text format. Called in the event loop that updates them."""
    return generate_latest()
