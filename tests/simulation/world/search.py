"""Runs many seeds, and describes the first failure so that it can be repeated."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.simulation.world.schedule import Schedule, make_schedule
from tests.simulation.world.shrink import failure_of, kind_of, shrink


class Failure(NamedTuple):
    """A seed whose schedule fails."""

    seed: int
    error: Exception


def first_failure(seeds: Iterable[int], groups: Sequence[str] = ()) -> Failure | None:
    """Returns the first seed that fails, with faults of any kind or of these groups."""
    for seed in seeds:
        if (error := failure_of(make_schedule(seed, groups))) is not None:
            return Failure(seed, error)
    return None


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
