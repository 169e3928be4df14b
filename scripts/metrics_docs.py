"""Makes docs/metrics.md from the metrics that each service defines."""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase

from livebalance.runtime import metrics as shared

_HEAD = """\
# Metrics

<!-- Made by `make docs` from the texts in the `metrics.py` of each service. -->

Each process exposes its metrics at `/metrics`, in Prometheus' text format: a gateway on the port
`LIVEBALANCE_OPERATIONS_PORT`, any other process on `LIVEBALANCE_HTTP_PORT`. It also exposes the metrics of
the Python client: `process_cpu_seconds_total`, `process_resident_memory_bytes` and others.

A histogram has three series: `…_bucket`, `…_sum` and `…_count`. If the values of a label are listed, there
are no others, and each has a series from the start. No label contains an account, a user or an address.
"""


def modules() -> dict[str, ModuleType]:
    """Returns the metrics module of each installed service, by name."""
    points = sorted(entry_points(group="livebalance.metrics"))
    return {point.name: point.load() for point in points}


def markdown(services: Mapping[str, ModuleType]) -> str:
    """Returns the page for the metrics modules of the services."""
    parts = [_HEAD]
    for title, module in {"All services": shared, **services}.items():
        parts += [
            f"## {title[0].upper()}{title[1:]}",
            "",
            "| metric | type | labels | description |",
            "|---|---|---|---|",
        ]
        parts += [*_rows(module), ""]
    return "\n".join(parts)


def _rows(module: ModuleType) -> Iterator[str]:
    for metric in vars(module).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield f"| `{name}` | {family.type} | {_labels(metric)} | {family.documentation} |"


def _labels(metric: MetricWrapperBase) -> str:
    series = [sample.labels for family in metric.collect() for sample in family.samples]
    values = {label: dict.fromkeys(labels[label] for labels in series) for label in metric._labelnames}
    return "<br>".join(
        f"`{label}`: {', '.join(known)}" if known else f"`{label}`" for label, known in values.items()
    )
