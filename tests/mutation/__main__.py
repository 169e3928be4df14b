"""Runs mutmut over the pure modules and compares the results with the ratchet (ratchet.toml).

`python -m tests.mutation fold.lane` runs the modules whose names contain the text. A stopped run goes on
where it stopped. `--again` keeps the verdicts of killed mutants and tests only the others, which is quick
after a new test; the ratchet means a run without it.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.ratchet import Module, read_ratchet
from tests.mutation.tree import lay_out
from tests.mutation.verdicts import Mutant, forget_survivors, read_mutants

WORKERS = 2


class RunError(Exception):
    """mutmut ended early. Its log says why."""


def run(module: Module, again: bool) -> list[Mutant]:
    """Tests the mutants of a module that have no verdict yet, and returns all mutants."""
    tree = lay_out(module.name, module.tests, keep=again)
    if again:
        forget_survivors(tree, module.name)
    mutmut = Path(sys.executable).with_name("mutmut")
    environment = os.environ | {"PYTHONHASHSEED": "0", "NO_COLOR": "1"}
    with (tree / "log").open("w") as log:
        subprocess.run(
            [mutmut, "run", "--max-children", str(WORKERS)],
            cwd=tree,
            env=environment,
            stdout=log,
            stderr=log,
            check=False,
        )
    mutants = read_mutants(tree, module.name)
    if any(mutant.verdict == "not checked" for mutant in mutants):
        raise RunError(f"# mutants of {module.name} have no verdict: see {tree / 'log'}")
    return mutants


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row per module and each survivor that the ratchet does not explain."""
    parser = argparse.ArgumentParser(prog="tests.mutation")
    parser.add_argument("modules", nargs="*", help="part of the name of a module, for example fold.lane")
    parser.add_argument("--again", action="store_true", help="test only survivors again")
    options = parser.parse_args(arguments)
    modules = [
        module
        for module in read_ratchet()
        if not options.modules or any(part in module.name for part in options.modules)
    ]
    if not modules:
        parser.error("no such module")
    print(f"{'module':<45} mutants  killed  explained  score  at least")
    faults: list[str] = []
    for module in modules:
        try:
            mutants = run(module, options.again)
        except RunError as error:
            faults.append(str(error))
            continue
        result = module.compare(mutants)
        print(
            f"{module.name:<45} {len(mutants):7} {result.killed:7} {result.explained:10}"
            f" {result.score:5.1f}% {module.score:8.1f}%",
            flush=True,
        )
        faults += result.faults
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
