"""What the runbooks tell an operator to ask and to run."""

import re
from typing import NamedTuple

from livebalance.stack.paths import PROJECT
from tests.contract.alerts import RUNBOOKS

_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_ROLE = re.compile(r"\s*-- as (\w+)\n")
# As it is typed: alone, by the path of a checkout, or in a pod; not the name of a database or a namespace.
_COMMAND = re.compile(r"(?:^ *|`|bin/| -- |xargs )livebalance ([a-z][^`\n|]*)", re.MULTILINE)
_OTHERS = ("operations.md", "kubernetes.md")  # pages beside them that an operator types from


class Statement(NamedTuple):
    page: str
    role: str
    sql: str


def blocks(language: str) -> list[tuple[str, str]]:
    """The name of the page, and the block."""
    return [
        (page.stem, text.strip())
        for page in sorted((PROJECT / RUNBOOKS).iterdir())
        for found, text in _BLOCK.findall(page.read_text())
        if found == language
    ]


def statements() -> list[Statement]:
    """As analyst, where nothing else is said."""
    found = []
    for page, sql in blocks("sql"):
        role = _ROLE.match(sql)
        found.append(Statement(page, role[1] if role else "analyst", sql))
    return found


def commands() -> set[str]:
    """Of `livebalance`, with their options."""
    pages = [*(PROJECT / RUNBOOKS).iterdir(), *(PROJECT / "docs" / name for name in _OTHERS)]
    texts = [page.read_text().replace("\\\n", " ") for page in pages]  # a line may go on in the next one
    return {command.strip() for text in texts for command in _COMMAND.findall(text)}
