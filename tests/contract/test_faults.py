"""Each fault of docs/faults.md names the tests that cause it, and these tests exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
_ROW = re.compile(r"^\| F(\d+) \|.*\| ([^|]*) \|$", re.MULTILINE)
_TEST = re.compile(r"^\s*(?:async )?def (test_\w+)\(", re.MULTILINE)


def test_every_fault_names_tests_that_exist() -> None:
    rows = {
        int(number): re.findall(r"`(test_\w+)`", tests) for number, tests in _ROW.findall(PAGE.read_text())
    }
    defined = {name for path in TESTS.rglob("test_*.py") for name in _TEST.findall(path.read_text())}
    assert list(rows) == list(range(1, 38))
    assert {number for number, tests in rows.items() if not tests} == set()
    assert {name for tests in rows.values() for name in tests} - defined == set()
