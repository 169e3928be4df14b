"""Extracts the queries and commands from the runbooks."""

import re
from typing import NamedTuple

from livebalance.stack.paths import PROJECT
from tests.contract.alerts import RUNBOOKS

_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_ROLE = re.compile(r"\s*-- as (\w+)\n")
# As an operator types it: alone, with the path of a checkout, or in a pod. Not a database or a namespace.
_COMMAND = re.compile(r"(?:^ *|`|bin/| -- |xargs )livebalance ([a-z][^`\n|]*)", re.MULTILINE)
_PAGES = ("operations.md", "kubernetes.md")  # other pages with commands


class Statement(NamedTuple):
    """A SQL block of a page, and the role that runs it."""

    page: str
    role: str
    sql: str


def blocks(language: str) -> list[tuple[str, str]]:
    """Returns the blocks of a language, each with the name of its page."""
    return [
        (page.stem, text.strip())
        for page in sorted((PROJECT / RUNBOOKS).iterdir())
        for block_language, text in _BLOCK.findall(page.read_text())
        if block_language == language
    ]


def statements() -> list[Statement]:
    """Returns the SQL blocks. A block without a role runs as `analyst`."""
    result = []
    for page, sql in blocks("sql"):
        role = _ROLE.match(sql)
        result.append(Statement(page, role[1] if role else "analyst", sql))
    return result


def commands() -> set[str]:
    """Returns the arguments of each `livebalance` command in the pages."""
    pages = [*(PROJECT / RUNBOOKS).iterdir(), *(PROJECT / "docs" / name for name in _PAGES)]
    texts = [page.read_text().replace("\\\n", " ") for page in pages]  # joins continued lines
    return {command.strip() for text in texts for command in _COMMAND.findall(text)}
