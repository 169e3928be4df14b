"""The whole pipeline holds its guarantees in random worlds, and each of its rules is needed for them."""

import os
import secrets

import pytest

from tests.simulation.world.mutants import MUTANTS
from tests.simulation.world.search import describe, first_failure, kind_of

SEED = "LIVEBALANCE_SIMULATION_SEED"
SCHEDULES = 2_000
MUTANT_SCHEDULES = 4_000  # within which a mutant must fail


@pytest.mark.timeout(600)
def test_pipeline_in_random_worlds_holds_all_oracles() -> None:
    first = int(os.environ.get(SEED) or secrets.randbits(32))
    print(f"{SEED}={first}")
    if failure := first_failure(range(first, first + SCHEDULES)):
        pytest.fail(describe(failure), pytrace=False)


@pytest.mark.mutant
@pytest.mark.timeout(300)
@pytest.mark.parametrize("rule", MUTANTS)
def test_pipeline_without_the_rule_fails_its_oracle(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[rule]
    monkeypatch.setattr(mutant.target, mutant.name, mutant.replacement)
    failure = first_failure(range(MUTANT_SCHEDULES), mutant.faults)
    assert failure is not None
    assert kind_of(failure.error) == mutant.oracle, failure.error
