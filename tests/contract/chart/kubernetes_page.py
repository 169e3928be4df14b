"""Reads the values and commands that docs/kubernetes.md shows an operator."""

import re

from tests.contract.chart.values_table import PAGE

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_OTHER_CHART = "# Values of the chart of "  # first words of a block that is not for our chart


def code_blocks(language: str) -> list[str]:
    return [text for block_language, text in _BLOCK.findall(PAGE.read_text()) if block_language == language]


def our_values() -> list[str]:
    """Returns values of our chart: first the minimum, then blocks that can be added."""
    return [text for text in code_blocks("yaml") if not text.startswith(_OTHER_CHART)]


def other_values() -> list[str]:
    """Returns values of other charts."""
    return [text for text in code_blocks("yaml") if text.startswith(_OTHER_CHART)]


def shell_commands() -> str:
    """Returns all shell commands, each on one line."""
    return "\n".join(code_blocks("sh")).replace("\\\n", " ")
