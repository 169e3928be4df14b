"""A change that moves the code which a planted mutant replaces moves the mutant, too."""

from pathlib import Path

import pytest

from tests.mutation.planted import Planted, mutants

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.rule)
def test_planted_mutant_finds_its_code_and_its_test(mutant: Planted) -> None:
    with pytest.MonkeyPatch.context() as patch:
        mutant.plant(patch)
    path, _, test = mutant.test.partition("::")
    assert f"def {test}(" in (PROJECT / path).read_text()


def test_rules_of_planted_mutants_are_unique() -> None:
    rules = [mutant.rule for mutant in mutants()]
    assert sorted(set(rules)) == sorted(rules)
