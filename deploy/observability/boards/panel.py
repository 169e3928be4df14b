"""What stands on a dashboard: a graph, a number or a table, and what it asks Prometheus or Postgres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PROMETHEUS = {"type": "prometheus", "uid": "livebalance-prometheus"}
POSTGRES = {"type": "grafana-postgresql-datasource", "uid": "livebalance-reporting"}

Unit = Literal["short", "s", "ops", "reqps", "bytes", "Bps", "percentunit", "bool", "none"]


@dataclass(frozen=True)
class Query:
    """PromQL; `legend` is Grafana's, with {{labels}}. As a table it is asked for now alone."""

    expr: str
    legend: str = ""

    def json(self, *, table: bool) -> dict[str, Any]:
        when = {"instant": True, "format": "table"} if table else {"range": True}
        return {
            "datasource": PROMETHEUS,
            "editorMode": "code",
            "expr": self.expr,
            "legendFormat": self.legend or "__auto",
            **when,
        }


@dataclass(frozen=True)
class Sql:
    """A statement of the role `analyst`. `$__timeFilter(column)` is the time that the dashboard shows."""

    statement: str
    over_time: bool = False  # its column `time` is the x of a graph

    def json(self, *, table: bool) -> dict[str, Any]:
        return {
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": "table" if table or not self.over_time else "time_series",
            "rawQuery": True,
            "rawSql": self.statement,
        }


@dataclass(frozen=True)
class Panel:
    """`bad` colours a number from there on; `says` is shown beside the title of who asks."""

    title: str
    asks: Sequence[Query | Sql]
    says: str = ""
    unit: Unit = "short"
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    height: int = 7
    bad: float | None = None
    stacked: bool = False
    words: Mapping[str, str] = field(default_factory=dict)  # for the values of a number

    def json(self) -> dict[str, Any]:
        """As in the file of a dashboard, without its place."""
        table = self.kind == "table"
        targets = [{"refId": chr(ord("A") + at), **one.json(table=table)} for at, one in enumerate(self.asks)]
        return {
            "type": self.kind,
            "title": self.title,
            "description": self.says,
            "datasource": targets[0]["datasource"],
            "targets": targets,
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": _OPTIONS[self.kind],
        }

    def _defaults(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if self.bad is not None:
            steps.append({"color": "red", "value": self.bad})
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": [],
        }
        if self.words:
            options = {
                value: {"text": word, "index": at} for at, (value, word) in enumerate(self.words.items())
            }
            defaults["mappings"] = [{"type": "value", "options": options}]
        if self.kind == "timeseries":
            defaults["min"] = 0
            defaults["custom"] = _LINES | (
                {"stacking": {"mode": "normal", "group": "A"}} if self.stacked else {}
            )
        return defaults


def number(title: str, ask: Query | Sql, **more: Any) -> Panel:
    """One number, green until it is bad."""
    return Panel(title, [ask], kind="stat", **{"width": 4, "height": 4, **more})


def table(title: str, ask: Query | Sql, **more: Any) -> Panel:
    return Panel(title, [ask], kind="table", **{"width": 12, "height": 8, **more})


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
