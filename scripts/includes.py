"""Fills pages of docs/ with the files that they show: an example on a page is a file that tests run."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# A comment that names a file, followed by a code block.
_INCLUDE = re.compile(
    r"(?P<head><!-- file: (?P<path>\S+) -->\n```\w+\n).*?(?P<end>^```$)", re.DOTALL | re.MULTILINE
)


def filled(page: str) -> str:
    """Returns a page whose code blocks behind `<!-- file: path -->` have the content of that file."""
    return _INCLUDE.sub(_block, (PROJECT / "docs" / page).read_text())


def _block(match: re.Match[str]) -> str:
    return f"{match['head']}{(PROJECT / match['path']).read_text()}{match['end']}"
