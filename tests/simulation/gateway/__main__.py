"""Runs random schedules of each machine: `python -m tests.simulation.gateway --seeds 1000`."""

import argparse
import secrets
from collections.abc import Sequence

from tests.simulation.gateway.bounds import SMALL_BOUNDS
from tests.simulation.gateway.properties import Faulty, Forging, LosingCommits, Lossless, Revoking
from tests.simulation.gateway.set_properties import SET_MACHINES
from tests.simulation.shrink import shrink
from tests.simulation.steps import Step, random_schedule, run_schedule

STEPS = 60
MACHINES = (Lossless, Faulty, Forging, LosingCommits, Revoking, *SET_MACHINES)


def failure_of(machine: type[Lossless], schedule: Sequence[Step]) -> Exception | None:
    """Returns what a run of the schedule raises, if anything."""
    try:
        run_schedule(machine, schedule)
    except Exception as error:
        return error
    return None


def describe(machine: type[Lossless], seed: int, error: Exception) -> str:
    """Returns the failure, and its schedule, shrunk."""
    begin, *steps = random_schedule(machine, seed, STEPS)
    steps = list(shrink(steps, lambda some: type(failure_of(machine, [begin, *some])) is type(error)))
    lines = [f"{machine.__name__} with seed {seed}: {error!r}", *(f"  {step}" for step in [begin, *steps])]
    return "\n".join([*lines, f"repeat with: python -m tests.simulation.gateway --seed {seed}"])


def main() -> int:
    """Returns 1 if a schedule fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.gateway")
    parser.add_argument("--seed", type=int, help="first seed; default: random")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run, each with all machines")
    options = parser.parse_args()
    first = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seeds {first} to {first + options.seeds - 1}", flush=True)
    for module, name, bound in SMALL_BOUNDS:
        setattr(module, name, bound)
    for seed in range(first, first + options.seeds):
        for machine in MACHINES:
            if error := failure_of(machine, random_schedule(machine, seed, STEPS)):
                print(describe(machine, seed, error))
                return 1
    print(f"{options.seeds} schedules of each machine hold")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
