"""Generates the table of values in docs/kubernetes.md from the comments in values.yaml."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from livebalance.stack.paths import PROJECT
from tests.contract.chart.helm import CHART

PAGE = PROJECT / "docs" / "kubernetes.md"
BEGIN = "<!-- Generated from values.yaml by `python -m tests.contract.chart`. -->"
END = "<!-- End of the generated table. -->"
_MAX_DEFAULT = 60  # characters; the table only refers to a longer default
# A name starts in lower case, so that a comment such as "Required: …" is not taken for an unset value.
_VALUE = re.compile(r"^(?P<space> *)(?P<unset># )?(?P<name>[a-z][a-zA-Z]*):(?P<rest>.*)$")
_COMMENT = re.compile(r"^(?P<space> *)# (?P<text>.*)$")
# Values that mean the same for every service. Only those of the first service are listed.
_SAME_FOR_ALL = ("settings", "secrets", "nodeSelector", "tolerations", "affinity", "priorityClassName")


class Value(NamedTuple):
    path: str
    description: str
    default: str


def read_values() -> list[Value]:
    """Returns all values of values.yaml, in its order."""
    text = (CHART / "values.yaml").read_text()
    values = list(_parse(text.splitlines(), yaml.safe_load(text)))
    seen = set[str]()
    return [value for value in values if value.description or not _is_repeated(value, seen)]


def _parse(lines: list[str], defaults: dict[str, Any]) -> Iterator[Value]:
    path, comments = list[str](), list[tuple[str, str]]()
    for line in lines:
        value, comment = _VALUE.match(line), _COMMENT.match(line)
        if value and not (value["unset"] and value["space"]):
            path = [*path[: len(value["space"]) // 2], value["name"]]
            description = " ".join(text for space, text in comments if space == value["space"])
            if description or value["rest"]:
                has_default = value["rest"] and not value["unset"]
                yield Value(".".join(path), description, _default(defaults, path) if has_default else "")
            comments = []
        else:  # examples below a value are indented further than the comment of the next value
            comments = [*comments, (comment["space"], comment["text"])] if comment else []


def _is_repeated(value: Value, seen: set[str]) -> bool:
    name = value.path.rpartition(".")[2]
    repeated = name in seen
    seen.add(name)
    return name in _SAME_FOR_ALL and repeated


def _default(values: Any, path: list[str]) -> str:
    for name in path:
        values = values[name]
    text = json.dumps(values)
    if text in ("null", '""'):
        return ""
    return f"`{text}`" if len(text) <= _MAX_DEFAULT else "see values.yaml"


def table() -> str:
    rows = (f"| `{value.path}` | {value.description} | {value.default} |" for value in read_values())
    return "\n".join(["| value | description | default |", "|---|---|---|", *rows])


def replace_table(page: str) -> str:
    """Returns the page with the current table."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"
