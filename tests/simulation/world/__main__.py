"""Runs schedules: `python -m tests.simulation.world --seed 12345 --trace`, or `--seeds 100000`."""

import argparse
import secrets
import time

from tests.simulation.world.schedule import make_schedule, run_schedule
from tests.simulation.world.search import describe, failures


def main() -> int:
    """Returns 1 if a schedule fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.world")
    parser.add_argument("--seed", type=int, help="first seed; default: random")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run")
    parser.add_argument("--trace", action="store_true", help="print each action, then the traceback")
    options = parser.parse_args()
    first = secrets.randbits(32) if options.seed is None else options.seed
    if options.trace:
        run_schedule(make_schedule(first), trace=True)
        return 0
    print(f"seeds {first} to {first + options.seeds - 1}", flush=True)
    started, cpu_started = time.monotonic(), time.process_time()
    if failure := next(failures(range(first, first + options.seeds)), None):
        print(describe(failure))
        return 1
    rate = options.seeds / (time.monotonic() - started)
    cpu_rate = options.seeds / (time.process_time() - cpu_started)
    print(f"{options.seeds} schedules hold, {cpu_rate:.0f} per second of CPU, {rate:.0f} per second")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
