"""The table of values in docs/kubernetes.md, from values.yaml: each with the comment above it."""

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
_LONGEST = 60  # characters of a default; a longer one is to be looked up
_VALUE = re.compile(r"^(?P<space> *)(?P<unset># )?(?P<name>[a-zA-Z]+):(?P<rest>.*)$")
_COMMENT = re.compile(r"^(?P<space> *)# (?P<says>.*)$")
# Of every service alike: told of the first.
_ALIKE = ("settings", "secrets", "nodeSelector", "tolerations", "affinity", "priorityClassName")


class Value(NamedTuple):
    path: str
    says: str
    default: str


def values() -> list[Value]:
    """All of values.yaml, in its order."""
    text = (CHART / "values.yaml").read_text()
    found = list(_values(text.splitlines(), yaml.safe_load(text)))
    seen = set[str]()
    return [one for one in found if one.says or not _is_alike(one, seen)]


def _values(lines: list[str], told: dict[str, Any]) -> Iterator[Value]:
    path, said = list[str](), list[tuple[str, str]]()
    for line in lines:
        found, comment = _VALUE.match(line), _COMMENT.match(line)
        if found and not (found["unset"] and found["space"]):
            path = [*path[: len(found["space"]) // 2], found["name"]]
            says = " ".join(words for space, words in said if space == found["space"])
            if says or found["rest"]:
                told_here = found["rest"] and not found["unset"]
                yield Value(".".join(path), says, _default(told, path) if told_here else "")
            said = []
        else:  # an example below a value is further in than the next one
            said = [*said, (comment["space"], comment["says"])] if comment else []


def _is_alike(value: Value, seen: set[str]) -> bool:
    name = value.path.rpartition(".")[2]
    again = name in seen
    seen.add(name)
    return name in _ALIKE and again


def _default(told: Any, path: list[str]) -> str:
    for name in path:
        told = told[name]
    shown = json.dumps(told)
    if shown in ("null", '""'):
        return ""
    return f"`{shown}`" if len(shown) <= _LONGEST else "see values.yaml"


def table() -> str:
    rows = (f"| `{one.path}` | {one.says} | {one.default} |" for one in values())
    return "\n".join(["| value | description | default |", "|---|---|---|", *rows])


def renewed(page: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"
