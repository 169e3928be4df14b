"""What docs/kubernetes.md has an operator write and type."""

import re

from tests.contract.chart.reference import PAGE

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_OTHERS = "# Values of the chart of "  # how a block begins that is not for our chart


def blocks(language: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(PAGE.read_text()) if found == language]


def values() -> list[str]:
    """Of our chart: the least first, then what can be added."""
    return [text for text in blocks("yaml") if not text.startswith(_OTHERS)]


def values_of_others() -> list[str]:
    return [text for text in blocks("yaml") if text.startswith(_OTHERS)]


def typed() -> str:
    """All lines for a shell, each on one line."""
    return "\n".join(blocks("sh")).replace("\\\n", " ")
