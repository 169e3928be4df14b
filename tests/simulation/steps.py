"""Steps of a state machine whose arguments are of finite sets, so that two searches can run them.

Hypothesis searches with care and shrinks what it finds. `search` only runs random schedules, many times as
fast: it looks for the failure of a planted mutant.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import getmembers
from random import Random
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

F = TypeVar("F", bound=Callable[..., None])
Values = Mapping[str, Sequence[Any]]  # by the name of the argument

KEPT_STEPS = (0.3, 0.6, 1.0)  # shares of the steps that a schedule uses, so that some meet more often

_begins: dict[object, Values] = {}
_steps: dict[object, Values] = {}
_invariants: list[object] = []


def begin(**values: Sequence[Any]) -> Callable[[F], F]:
    """Declares the first step of every schedule."""
    return _declare(initialize, _begins, values)


def step(**values: Sequence[Any]) -> Callable[[F], F]:
    """Declares a step, and the values of its arguments."""
    return _declare(rule, _steps, values)


def _declare(kind: Any, declared: dict[object, Values], values: Values) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        strategies = {name: st.sampled_from(of_name) for name, of_name in values.items()}
        decorated: F = kind(**strategies)(function)
        declared[decorated] = values
        return decorated

    return decorate


def always(function: F) -> F:
    """Declares a property that holds after each step."""
    decorated: F = invariant()(function)
    _invariants.append(decorated)
    return decorated


class Step(NamedTuple):
    """A step of a schedule, with its arguments."""

    function: Callable[..., None]
    arguments: dict[str, Any]

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.function.__name__}({arguments})"


def random_schedule(machine: type[RuleBasedStateMachine], seed: int, length: int) -> list[Step]:
    """Returns the first step of a schedule, and up to `length` others."""
    members = [member for _, member in getmembers(machine, callable)]
    (first,) = (member for member in members if member in _begins)
    steps = [member for member in members if member in _steps]
    random = Random(seed)
    share = random.choice(KEPT_STEPS)
    kept = [each for each in steps if random.random() < share] or steps
    schedule = [_draw(random, first, _begins[first])]
    for _ in range(random.randrange(length)):
        each = random.choice(kept)
        schedule.append(_draw(random, each, _steps[each]))
    return schedule


def _draw(random: Random, function: Any, values: Values) -> Step:
    return Step(function, {name: random.choice(of_name) for name, of_name in values.items()})


def run_schedule(machine: type[RuleBasedStateMachine], schedule: Iterable[Step]) -> None:
    """Runs the steps, checks the properties after each, and ends. Raises the first failure."""
    invariants = [member for _, member in getmembers(machine, callable) if member in _invariants]
    run = machine()
    for step_ in schedule:
        step_.function(run, **step_.arguments)
        for holds in invariants:
            holds(run)
    run.teardown()


def search(machine: type[RuleBasedStateMachine], seeds: Iterable[int], length: int) -> None:
    """Runs a random schedule of up to `length` steps for each seed. Raises the first failure."""
    for seed in seeds:
        run_schedule(machine, random_schedule(machine, seed, length))
