"""Compares the series in PromQL expressions with the series that exist."""

from collections.abc import Iterator

import promql_parser
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR
from prometheus_client.metrics import MetricWrapperBase

from livebalance.runtime import metrics as shared
from scripts.metrics_docs import modules

Labels = frozenset[str]

SCRAPED = frozenset({"instance", "job"})  # labels that Prometheus adds
_SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def existing_series() -> dict[str, Labels]:
    """Returns the labels of every series by its name: of services, processes and Prometheus itself."""
    series = {"ALERTS": frozenset({"alertname", "alertstate", "severity"}), "up": SCRAPED}
    for module in (shared, *modules().values()):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                (family,) = metric.describe()
                for suffix in _SUFFIXES[family.type]:
                    bucket = {"le"} if suffix == "_bucket" else set()
                    series[family.name + suffix] = SCRAPED | bucket | set(metric._labelnames)
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        for family in collector.collect():
            series.update({sample.name: SCRAPED | sample.labels.keys() for sample in family.samples})
    return series


def selected_series(expr: str) -> Iterator[tuple[str, Labels]]:
    """Yields each series that an expression selects, with the labels of its matchers. Raises ValueError."""
    selectors: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append(node)

    promql_parser.walk(promql_parser.parse(expr), visit)
    for selector in selectors:
        yield selector.name or "", frozenset(matcher.name for matcher in selector.matchers.matchers)


def missing(expr: str) -> list[str]:
    """Returns the series and labels that an expression selects and that do not exist."""
    series = existing_series()
    selected = list(selected_series(expr))
    assert selected, f"{expr} selects no series"
    unknown = [name for name, _ in selected if name not in series]
    return unknown + [
        f"{name}{{{label}}}" for name, labels in selected for label in labels - series.get(name, labels)
    ]
