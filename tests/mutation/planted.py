"""Plants the mutants of the files `planted_….py`: `python -m tests.mutation.planted`.

It is a pytest plugin. A mutant is convicted if its test fails with its own text. Another failure, a timeout
for example, convicts nothing.
"""

import inspect
import re
import subprocess
import sys
import textwrap
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


_PATCH = pytest.StashKey[pytest.MonkeyPatch]()


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


def code(owner: Any, name: str, correct: str, wrong: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Returns a function that replaces a fragment in the source of a function, of a method or of a property.

    The fragments are indented as in the source, from the `def` on.
    """

    def plant(patch: pytest.MonkeyPatch) -> None:
        original = inspect.getattr_static(owner, name)
        function: Any = original.fget if isinstance(original, property) else original
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(correct) == 1, (name, source.count(correct))
        compiled = compile(source.replace(correct, wrong), inspect.getfile(function), "exec")
        defined: dict[str, Any] = {}
        exec(compiled, function.__globals__, defined)
        patch.setattr(owner, name, defined[name])

    return plant


def mutants() -> tuple[Planted, ...]:
    """Returns all planted mutants."""
    from tests.mutation.planted_gateway import GATEWAY
    from tests.mutation.planted_projector import PROJECTOR
    from tests.mutation.planted_recorder import RECORDER
    from tests.mutation.planted_sql import PREDICATES

    return (*PREDICATES, *PROJECTOR, *RECORDER, *GATEWAY)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test once for each of its mutants."""
    own = [mutant for mutant in mutants() if mutant.test == metafunc.definition.nodeid]
    if own:
        metafunc.fixturenames.append("planted")
        metafunc.parametrize("planted", own, ids=[mutant.rule for mutant in own])


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
    if missing := [mutant.rule for mutant in mutants() if mutant.test in tests and mutant not in found]:
        raise pytest.UsageError(f"no test has the case of these mutants: {missing}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Plants the mutant before the fixtures. A test's own patches are undone before this one."""
    mutant = _mutant(item)
    assert mutant is not None
    mutant.plant(item.stash.setdefault(_PATCH, pytest.MonkeyPatch()))
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Removes the mutant after the fixtures have ended."""
    try:
        return (yield)
    finally:
        item.stash[_PATCH].undo()


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
    tests = sorted({mutant.test for mutant in mutants()})
    unclosed = "ignore::pytest.PytestUnraisableExceptionWarning"  # what a test leaves open when it fails
    command = [sys.executable, "-m", "pytest", "-p", "tests.mutation.planted", "-W", unclosed, *tests]
    command += sys.argv[1:]
    sys.exit(subprocess.call(command))  # pytest rewrites the assertions of modules that it imports first


if __name__ == "__main__":
    main()
