"""Runs many seeds, and describes the first failure: its schedule, shrunk, and how to repeat it."""

import gc
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tests.simulation.world.oracles import OracleError
from tests.simulation.world.schedule import Schedule, make_schedule, run_schedule


class Failure(NamedTuple):
    """A seed whose schedule fails."""

    seed: int
    error: Exception


def failures(seeds: Iterable[int], groups: Sequence[str] = ()) -> Iterator[Failure]:
    """Returns the seeds that fail, with faults of any kind or of these groups."""
    gc.freeze()
    gc.disable()
    try:
        for seed in seeds:
            if (error := failure_of(make_schedule(seed, groups))) is not None:
                yield Failure(seed, error)
            gc.collect(0)  # the world that ended, while it is in the processor's cache
    finally:
        gc.enable()


def describe(failure: Failure) -> str:
    """Returns the failure, its shrunk schedule, and how to repeat it."""
    schedule = shrink(make_schedule(failure.seed))
    return "\n".join(
        [
            f"seed {failure.seed}: {kind_of(failure.error)}: {failure.error}",
            f"shrunk to {len(schedule.actions)} actions: {failure_of(schedule)}",
            *_lines(schedule),
            f"repeat with: python -m tests.simulation.world --seed {failure.seed} --trace",
        ]
    )


def _lines(schedule: Schedule) -> list[str]:
    return [f"  {schedule.shape}", *(f"  {kind} {a} {b}" for kind, a, b in schedule.actions)]


def failure_of(schedule: Schedule) -> Exception | None:
    """Returns what is raised by a run, if anything."""
    try:
        run_schedule(schedule)
    except Exception as error:
        return error
    return None


def kind_of(error: Exception | None) -> str | None:
    """Returns the oracle that an error is of, or the name of its type."""
    if isinstance(error, OracleError):
        return error.oracle
    return None if error is None else type(error).__name__


def shrink(schedule: Schedule, seconds: float = 20.0) -> Schedule:
    """Returns a schedule with fewer actions that fails in the same way (delta debugging).

    After `seconds` the best so far is returned.
    """
    kind, until = kind_of(failure_of(schedule)), time.monotonic() + seconds
    size = max(1, len(schedule.actions) // 2)
    while size:
        position, shorter = 0, False
        while position < len(schedule.actions):
            if time.monotonic() > until:
                return schedule
            actions = [*schedule.actions[:position], *schedule.actions[position + size :]]
            candidate = schedule._replace(actions=actions)
            if kind_of(failure_of(candidate)) == kind:
                schedule, shorter = candidate, True
            else:
                position += size
        if not shorter or size > 1:
            size //= 2
    return schedule
