"""Each row of docs/bad-input.md has a test of its number, and each numbered test has a row."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "bad-input.md"
_TEST = re.compile(r"^(?:async )?def test_row_(\d\d)_", re.MULTILINE)
_ROW = re.compile(r"^\| (\d+) \|", re.MULTILINE)


def test_rows_and_tests_have_the_same_numbers() -> None:
    rows = [int(row) for row in _ROW.findall(PAGE.read_text())]
    tests = {int(row) for file in TESTS.rglob("test_*.py") for row in _TEST.findall(file.read_text())}
    assert rows == list(range(1, 42))
    assert tests == set(rows)
