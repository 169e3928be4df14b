"""Shrinks the schedule of a failure: removes actions as long as the same failure remains."""

import time

from tests.simulation.world.oracles import OracleError
from tests.simulation.world.schedule import Schedule, run_schedule


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
