"""The seed of a run of random schedules."""

import os
import secrets

from hypothesis import seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

_VARIABLE = "LIVEBALANCE_SIMULATION_SEED"


def simulation_seed() -> int:
    """Returns a random seed, or that of the environment, and prints it so that a failure can be repeated."""
    number = int(os.environ.get(_VARIABLE) or secrets.randbits(32))
    print(f"{_VARIABLE}={number}")
    return number


def run_machine(machine: type[RuleBasedStateMachine], options: settings) -> None:
    """Runs random schedules of a state machine. A failure shows its seed, and its shrunk schedule."""
    seeded = seed(simulation_seed())(type(machine.__name__, (machine,), {}))
    run_state_machine_as_test(seeded, settings=options)
