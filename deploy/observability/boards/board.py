"""A dashboard and its JSON for Grafana."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.observability.boards.panel import Panel
from deploy.observability.boards.variables import ANNOTATIONS, Variable

COLUMNS = 24  # width of Grafana's grid
TAG = "livebalance"


@dataclass(frozen=True)
class Row:
    """Panels side by side under a heading; panels that do not fit wrap into the next line."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """A dashboard: its file is `<name>.json`, its uid `livebalance-<name>`.

    `since` is the time range that Grafana shows at first, such as 6h.
    """

    name: str
    title: str
    rows: Sequence[Row]
    since: str = "1h"
    refresh: str = "15s"
    variables: Sequence[Variable] = ()

    def panels(self) -> list[Panel]:
        """Returns the panels of all rows."""
        return [panel for row in self.rows for panel in row.panels]

    def text(self) -> str:
        """Returns the content of the JSON file."""
        return json.dumps(self._dashboard(), indent=2) + "\n"

    def _dashboard(self) -> dict[str, Any]:
        return {
            "uid": f"livebalance-{self.name}",
            "title": f"Livebalance: {self.title}",
            "tags": [TAG],
            "schemaVersion": 42,
            "editable": True,
            "graphTooltip": 1,  # one crosshair for all panels
            "refresh": self.refresh,
            "time": {"from": f"now-{self.since}", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": [annotation.json() for annotation in ANNOTATIONS]},
            "templating": {"list": [variable.json() for variable in self.variables]},
            "links": [_LINKS],
            "panels": [{"id": id_, **panel} for id_, panel in enumerate(self._placed(), 1)],
        }

    def _placed(self) -> Iterator[dict[str, Any]]:
        y = 0
        for row in self.rows:
            yield {
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }
            x, y, height = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y, height = 0, y + height, 0
                yield {
                    **self._limited(panel.json()),
                    "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
                }
                x, height = x + panel.width, max(height, panel.height)
            y += height

    def _limited(self, panel: dict[str, Any]) -> dict[str, Any]:
        """Returns the panel with its PromQL limited to the chosen values of the variables."""
        for target in panel["targets"]:
            for variable in self.variables:
                if "expr" in target:
                    target["expr"] = variable.limit(target["expr"])
        return panel


_LINKS = {
    "title": "All of Livebalance",
    "type": "dashboards",
    "tags": [TAG],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "icon": "external link",
    "tooltip": "",
    "url": "",
}
