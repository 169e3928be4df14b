"""The whole pipeline holds its guarantees in random worlds, and each of its rules is needed for them."""

from itertools import islice

import pytest

from tests.simulation.seed import simulation_seed
from tests.simulation.world.mutants import MUTANTS
from tests.simulation.world.search import describe, failures, kind_of

SCHEDULES = 2_000
MUTANT_SCHEDULES = 500  # within which a mutant must fail


@pytest.mark.timeout(600)
def test_pipeline_in_random_worlds_holds_all_oracles() -> None:
    first = simulation_seed()
    if failure := next(failures(range(first, first + SCHEDULES)), None):
        pytest.fail(describe(failure), pytrace=False)


def test_failure_is_described_with_its_shrunk_schedule_and_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS["header names are any bytes"]
    monkeypatch.setattr(mutant.target, mutant.name, mutant.replacement)
    failure = next(failures(range(500)))
    again = next(failures([failure.seed]))
    assert str(again.error) == str(failure.error)
    text = describe(failure)
    assert f"--seed {failure.seed} --trace" in text
    assert text.count("  write_odd_bytes ") == 1
    assert len(text.splitlines()) < 12


@pytest.mark.mutant
@pytest.mark.timeout(300)
@pytest.mark.parametrize("rule", MUTANTS)
def test_pipeline_without_the_rule_fails_its_oracle(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[rule]
    monkeypatch.setattr(mutant.target, mutant.name, mutant.replacement)
    failed = [*islice(failures(range(MUTANT_SCHEDULES), mutant.faults), 3)]
    assert failed
    assert {kind_of(failure.error) for failure in failed} <= {*mutant.oracles.split()}
