"""Variables that limit the panels of a dashboard, and annotations that mark what happened."""

import re
from dataclasses import dataclass
from typing import Any

from deploy.observability.boards.panel import PROMETHEUS

_CHANGE = "1m"  # something is new if the same query has no answer so long ago, but has others


@dataclass(frozen=True)
class Variable:
    """A variable such as $lane: the values of a label, of which the reader of a dashboard chooses some.

    `values_of` is the metric whose values can be chosen. The variable limits every series of the dashboard
    whose name matches `series`.
    """

    name: str
    label: str
    values_of: str
    series: str

    def limit(self, expr: str) -> str:
        """Returns the PromQL expression limited to the chosen values."""

        def limit_selector(match: re.Match[str]) -> str:
            matchers = ", ".join(filter(None, [match["matchers"], f'{self.label}=~"${self.name}"']))
            return f"{match['series']}{{{matchers}}}"

        return re.sub(rf"\b(?P<series>{self.series})\b(?:{{(?P<matchers>[^}}]*)}})?", limit_selector, expr)

    def json(self) -> dict[str, Any]:
        """Returns the variable for the dashboard file. At first, all values are chosen."""
        query = f"label_values({self.values_of}, {self.label})"
        return {
            "type": "query",
            "name": self.name,
            "label": self.name.capitalize(),
            "datasource": PROMETHEUS,
            "definition": query,
            "query": {"query": query, "refId": self.name},
            "refresh": 2,  # when the time range changes
            "sort": 3,  # by number
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }


@dataclass(frozen=True)
class Annotation:
    """Marks the times at which `expr` has a value. `text` is a Grafana template with {{labels}}."""

    name: str
    expr: str
    title: str
    text: str
    color: str

    def json(self) -> dict[str, Any]:
        """Returns the annotation for the dashboard file."""
        return {
            "name": self.name,
            "datasource": PROMETHEUS,
            "enable": True,
            "iconColor": self.color,
            "expr": self.expr,
            "titleFormat": self.title,
            "textFormat": self.text,
            "step": "15s",
        }


def appearing(series: str, by: str, within: str = "") -> str:
    """Returns PromQL for values of the labels `by` that are new, while others with `within` are not.

    The first values ever, and those after an outage of all, are not new.
    """
    joined = f"on ({within}) count by ({within})" if within else "on () count"
    return (
        f"(count by ({by}) ({series}) unless count by ({by}) ({series} offset {_CHANGE}))"
        f" and {joined} ({series} offset {_CHANGE})"
    )


ANNOTATIONS = (
    Annotation(
        "epoch",
        appearing("livebalance_projector_epoch_info", "epoch"),
        "new epoch {{epoch}}",
        "Every client gets a snapshot.",
        "purple",
    ),
    Annotation(
        "deploy",
        appearing("livebalance_info", "service, version", "service"),
        "{{service}} {{version}}",
        "A process of another version runs.",
        "blue",
    ),
    Annotation(
        "halt",
        'sum by (instance) (livebalance_projector_lanes{state="halted"}'
        ' or livebalance_recorder_partitions{state="halted"}) > 0',
        "halted: {{instance}}",
        "A lane waits for an operator. Runbook: docs/runbooks/lane-halted.md",
        "red",
    ),
)
GATEWAY = Variable("gateway", "instance", "livebalance_gateway_sessions", r"livebalance_gateway_\w+")
SERVICE = Variable("service", "service", "livebalance_info", "livebalance_info")


def lane(service: str) -> Variable:
    """Returns the variable for the series of a service that have a lane."""
    prefix = f"livebalance_{service}_"
    names = "lag_seconds|lag_records|open_transaction_seconds"
    return Variable("lane", "lane", f"{prefix}lag_seconds", f"{prefix}(?:{names})")
