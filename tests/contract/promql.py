"""What expressions of PromQL ask for, and what there is to be asked for."""

from collections.abc import Iterator

import promql_parser
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR
from prometheus_client.metrics import MetricWrapperBase

from livebalance.runtime import metrics as shared
from scripts.metrics_docs import modules

Labels = frozenset[str]

SCRAPED = frozenset({"instance", "job"})  # what Prometheus adds
_SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def there() -> dict[str, Labels]:
    """The labels of every series of a service, of a process, and of Prometheus itself, by its name."""
    found = {"ALERTS": frozenset({"alertname", "alertstate", "severity"}), "up": SCRAPED}
    for module in (shared, *modules().values()):
        for one in vars(module).values():
            if isinstance(one, MetricWrapperBase):
                (family,) = one.describe()
                for suffix in _SUFFIXES[family.type]:
                    more = {"le"} if suffix == "_bucket" else set()
                    found[family.name + suffix] = SCRAPED | more | set(one._labelnames)
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
        for family in collector.collect():
            found.update({sample.name: SCRAPED | sample.labels.keys() for sample in family.samples})
    return found


def asked(expr: str) -> Iterator[tuple[str, Labels]]:
    """Each series that an expression names, and the labels it chooses by. Raises ValueError."""
    selectors: list[promql_parser.VectorSelector] = []

    def visit(part: promql_parser.Expr) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            selectors.append(part)

    promql_parser.walk(promql_parser.parse(expr), visit)
    for one in selectors:
        yield one.name or "", frozenset(matcher.name for matcher in one.matchers.matchers)


def missing(expr: str) -> list[str]:
    """What is asked for and is not there."""
    series = there()
    found = list(asked(expr))
    assert found, f"{expr} asks for nothing"
    unknown = [name for name, _ in found if name not in series]
    return unknown + [
        f"{name}{{{label}}}" for name, labels in found for label in labels - series.get(name, labels)
    ]
