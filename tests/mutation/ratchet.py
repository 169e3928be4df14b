"""The ratchet: for each module its tests, the lowest score, and the survivors that are explained."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutation.verdicts import Mutant

RATCHET = Path(__file__).with_name("ratchet.toml")


class Result(NamedTuple):
    """What a run says about a module. `score` counts an explained survivor as alive."""

    killed: int
    explained: int
    score: float
    faults: list[str]


class Module(NamedTuple):
    """An entry of ratchet.toml."""

    name: str
    tests: list[str]
    score: float  # percent of mutants that are killed, at least
    survivors: list[dict[str, Any]]  # each with function, before, a list of after, and reason

    def compare(self, mutants: Sequence[Mutant]) -> Result:
        """Compares the mutants of a run with this entry. A timeout does not kill."""
        known = {
            (entry["function"], entry["before"], after)
            for entry in self.survivors
            if entry["reason"]
            for after in entry["after"]
        }
        alive = [mutant for mutant in mutants if mutant.verdict != "killed"]
        unexplained = [mutant for mutant in alive if mutant[:3] not in known]
        killed = len(mutants) - len(alive)
        score = 100 * killed / len(mutants)
        faults = [_entry(self.name, mutant) for mutant in unexplained]
        if score < self.score:
            faults.append(f"# {self.name}: {score:.1f} % killed, at least {self.score} % is asked for")
        return Result(killed, len(alive) - len(unexplained), score, faults)


def _entry(module: str, mutant: Mutant) -> str:
    """Returns a survivor as an entry of the ratchet that lacks its reason."""
    return (
        f'[["{module}".survivors]] # {mutant.verdict}\nfunction = "{mutant.function}"\n'
        f"before = '''{mutant.before}'''\nafter = ['''{mutant.after}''']\nreason = \"\"\n"
    )


def read_ratchet() -> list[Module]:
    """Returns the modules in the order of the file."""
    entries: dict[str, Any] = tomllib.loads(RATCHET.read_text())
    return [
        Module(name, entry["tests"], entry["score"], entry.get("survivors", []))
        for name, entry in entries.items()
    ]
