"""Plants the mutants of planted_sql.py and planted_rules.py: `python -m tests.mutation.planted`.

It is a pytest plugin. A mutant is convicted if its test fails with its own text. Another failure, a timeout
for example, convicts nothing.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest

from tests.mutation.conviction import failures


class Planted(NamedTuple):
    """A rule that is removed, the test that needs it, and how that test then fails."""

    rule: str
    test: str  # node id; the parameters of the test are left out
    plant: Callable[[pytest.MonkeyPatch], None]
    failure: str  # regular expression; matches "AssertionError: the text" of the failure
    case: str = ""  # id of the test's parameters, if it has any


def sql(module: Any, names: str, correct: str, wrong: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Returns a function that replaces a fragment in each of the statements of a module."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        for name in names.split():
            statement = getattr(module, name)
            assert statement.count(correct) == 1, (name, statement.count(correct))
            patch.setattr(module, name, statement.replace(correct, wrong))

    return plant


def attribute(target: Any, name: str, replacement: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Returns a function that replaces an attribute."""
    return lambda patch: patch.setattr(target, name, replacement)


def _mutants() -> tuple[Planted, ...]:
    from tests.mutation.planted_rules import RULES
    from tests.mutation.planted_sql import PREDICATES

    return (*PREDICATES, *RULES)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test once for each of its mutants."""
    mutants = [mutant for mutant in _mutants() if mutant.test == metafunc.definition.nodeid]
    if mutants:
        metafunc.fixturenames.append("planted")
        metafunc.parametrize("planted", mutants, ids=[mutant.rule for mutant in mutants])


def _mutant(item: pytest.Item) -> Planted | None:
    callspec = getattr(item, "callspec", None)
    return callspec and callspec.params.get("planted")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves only tests with a mutant."""

    def is_wanted(item: pytest.Item) -> bool:
        mutant = _mutant(item)
        return mutant is not None and (not mutant.case or mutant.case in item.callspec.id.split("-"))  # type: ignore[attr-defined]

    tests = {item.nodeid.partition("[")[0] for item in items}
    items[:] = filter(is_wanted, items)
    found = {_mutant(item) for item in items}
    if missing := [mutant.rule for mutant in _mutants() if mutant.test in tests and mutant not in found]:
        raise pytest.UsageError(f"no test has the case of these mutants: {missing}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Plants the mutant for the fixtures and the test. A test's own patches are undone before this one."""
    mutant = _mutant(item)
    assert mutant is not None
    with pytest.MonkeyPatch.context() as patch:
        mutant.plant(patch)
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Passes if the test fails as its mutant says."""
    mutant = _mutant(pyfuncitem)
    assert mutant is not None
    try:
        yield
    except BaseException as error:
        if any(re.search(mutant.failure, failure, re.DOTALL) for failure in failures(error)):
            return True
        raise
    return pytest.fail(f"the test passes although {mutant.rule!r} does not hold", pytrace=False)


def main() -> None:
    """Runs each test that a mutant names, with the mutant; further arguments go to pytest."""
    tests = sorted({mutant.test for mutant in _mutants()})
    command = [sys.executable, "-m", "pytest", "-p", "tests.mutation.planted", *tests, *sys.argv[1:]]
    sys.exit(subprocess.call(command))  # pytest rewrites the assertions of modules that it imports first


if __name__ == "__main__":
    main()
