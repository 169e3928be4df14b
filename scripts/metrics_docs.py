"""Makes docs/metrics.md from the metrics that each service defines."""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase

from livebalance.runtime import metrics as shared

_HEAD = """\
# Metrics

<!-- Made by `make docs`; the texts are in the `metrics.py` of each service. -->

Each process shows its own at `/metrics`, on the port that `LIVEBALANCE_HTTP_PORT` says, in the form of
Prometheus. Beside those below there are Python's and the process's own: `process_cpu_seconds_total`,
`process_resident_memory_bytes` and so on.

A histogram is three families: `…_bucket`, `…_sum` and `…_count`. Values of a label that are listed are all
there are, and are shown from the beginning. No label says who: no account, user or address is in any.
"""


def modules() -> dict[str, ModuleType]:
    """Returns the metrics module of each installed service, by name."""
    return {one.name: one.load() for one in sorted(entry_points(group="livebalance.metrics"))}


def markdown(services: Mapping[str, ModuleType]) -> str:
    """Returns the whole page."""
    parts = [_HEAD]
    for title, module in {"All services": shared, **services}.items():
        parts += [
            f"## {title[0].upper()}{title[1:]}",
            "",
            "| metric | type | labels | says |",
            "|---|---|---|---|",
        ]
        parts += [*_rows(module), ""]
    return "\n".join(parts)


def _rows(module: ModuleType) -> Iterator[str]:
    for one in vars(module).values():
        if isinstance(one, MetricWrapperBase):
            (family,) = one.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield f"| `{name}` | {family.type} | {_labels(one)} | {family.documentation} |"


def _labels(metric: MetricWrapperBase) -> str:
    series = [sample.labels for family in metric.collect() for sample in family.samples]
    values = {label: dict.fromkeys(one[label] for one in series) for label in metric._labelnames}
    return "<br>".join(
        f"`{label}`: {', '.join(known)}" if known else f"`{label}`" for label, known in values.items()
    )
