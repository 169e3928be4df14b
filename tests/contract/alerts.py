"""Reads the alerts, and names the files that belong to each."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from livebalance.stack.paths import PROJECT

DIRECTORY = PROJECT / "deploy" / "observability"
RULES = DIRECTORY / "alerts.yml"
RUNBOOKS = Path("docs", "runbooks")


class Alert(NamedTuple):
    """A rule of alerts.yml."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def stem(self) -> str:
        """Name of its files: lane-halted for LivebalanceLaneHalted."""
        words = re.findall(r"[A-Z][a-z]+", self.name.removeprefix("Livebalance"))
        return "-".join(words).lower()


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


ALERTS = [
    Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"])
    for group in read(RULES)["groups"]
    for rule in group["rules"]
]
