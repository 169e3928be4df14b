"""Panels of a dashboard (graph, number or table) and their queries to Prometheus or Postgres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PROMETHEUS = {"type": "prometheus", "uid": "livebalance-prometheus"}
POSTGRES = {"type": "grafana-postgresql-datasource", "uid": "livebalance-reporting"}

Unit = Literal["short", "s", "ops", "reqps", "bytes", "Bps", "percentunit", "bool", "none"]


@dataclass(frozen=True)
class Query:
    """A PromQL query; `legend` is a Grafana template with {{labels}}."""

    expr: str
    legend: str = ""

    def json(self, *, table: bool) -> dict[str, Any]:
        """Returns the target of a panel: an instant query for a table, else a range query."""
        mode = {"instant": True, "format": "table"} if table else {"range": True}
        return {
            "datasource": PROMETHEUS,
            "editorMode": "code",
            "expr": self.expr,
            "legendFormat": self.legend or "__auto",
            **mode,
        }


@dataclass(frozen=True)
class Sql:
    """A statement for the role `analyst`; `$__timeFilter(column)` selects the dashboard's time range."""

    statement: str
    over_time: bool = False  # draw a graph over the column `time`

    def json(self, *, table: bool) -> dict[str, Any]:
        """Returns the target of a panel."""
        return {
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": "table" if table or not self.over_time else "time_series",
            "rawQuery": True,
            "rawSql": self.statement,
        }


@dataclass(frozen=True)
class Panel:
    """A panel: `red_from` is the value from which a number is red, `description` its tooltip."""

    title: str
    queries: Sequence[Query | Sql]
    description: str = ""
    unit: Unit = "short"
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    height: int = 7
    red_from: float | None = None
    stacked: bool = False
    value_names: Mapping[str, str] = field(default_factory=dict)  # texts shown instead of numbers

    def json(self) -> dict[str, Any]:
        """Returns the panel for the dashboard file, without its position."""
        table = self.kind == "table"
        targets = [
            {"refId": chr(ord("A") + index), **query.json(table=table)}
            for index, query in enumerate(self.queries)
        ]
        return {
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": targets[0]["datasource"],
            "targets": targets,
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": _OPTIONS[self.kind],
        }

    def _defaults(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.red_from is not None:
            steps.append({"color": "red", "value": self.red_from})
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": [],
        }
        if self.value_names:
            options = {
                value: {"text": name, "index": index}
                for index, (value, name) in enumerate(self.value_names.items())
            }
            defaults["mappings"] = [{"type": "value", "options": options}]
        if self.kind == "timeseries":
            defaults["min"] = 0
            defaults["custom"] = _LINES | (
                {"stacking": {"mode": "normal", "group": "A"}} if self.stacked else {}
            )
        return defaults


def number(title: str, query: Query | Sql, **options: Any) -> Panel:
    """Returns a panel with a single number: green, and red from `red_from` on."""
    return Panel(title, [query], kind="stat", **{"width": 4, "height": 4, **options})


def table(title: str, query: Query | Sql, **options: Any) -> Panel:
    """Returns a panel with a table of the current values."""
    return Panel(title, [query], kind="table", **{"width": 12, "height": 8, **options})


_LINES = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "wideLayout": True,
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}
