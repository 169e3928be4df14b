"""Runs many seeds, and describes the first failure: its schedule, shrunk, and how to repeat it."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tests.simulation.shrink import shrink
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
    schedule = shrink_schedule(make_schedule(failure.seed))
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


def shrink_schedule(schedule: Schedule) -> Schedule:
    """Returns a schedule with fewer actions that fails in the same way."""
    kind = kind_of(failure_of(schedule))
    return schedule._replace(
        actions=shrink(
            schedule.actions,
            lambda actions: kind_of(failure_of(schedule._replace(actions=actions))) == kind,
        )
    )
