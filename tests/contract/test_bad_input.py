"""Every row of the table of bad input has a test of its number, so that none is forgotten."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = range(1, 39)
_NAMED = re.compile(r"^(?:async )?def test_row_(\d\d)_", re.MULTILINE)


def test_every_row_has_a_test() -> None:
    found = {int(row) for file in TESTS.rglob("test_*.py") for row in _NAMED.findall(file.read_text())}
    assert found == set(ROWS)
