"""Reads what mutmut decided about each mutant."""

import json
import os
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code


class Mutant(NamedTuple):
    """A change of a function: the lines that it replaces, and whether a test failed with it."""

    function: str
    before: str
    after: str
    verdict: str  # "killed", "survived", "timeout", "no tests", …


def _meta(tree: Path, module: str) -> Path:
    return tree / "mutants" / (module.replace(".", "/") + ".py.meta")


def read_mutants(tree: Path, module: str) -> list[Mutant]:
    """Returns the mutants of a module. Only those that live are compared with the original."""
    meta = _meta(tree, module)
    if not meta.exists():
        return [Mutant("", "", "", "not checked")]
    source = (tree / "mutants" / (module.replace(".", "/") + ".py")).relative_to(tree / "mutants")
    mutants = []
    with chdir(tree):
        for name, exit_code in json.loads(meta.read_text())["exit_code_by_key"].items():
            verdict = status_by_exit_code[exit_code]
            before, after = ("", "") if verdict == "killed" else _difference(name, source)
            mutants.append(Mutant(_function(name), before, after, verdict))
    return mutants


def _function(name: str) -> str:
    """Returns "Class.method" of mutmut's "m.xǁClassǁmethod__mutmut_3", "name" of "m.x_name__mutmut_3"."""
    mangled = name.rpartition("__mutmut_")[0].rpartition(".")[2]
    return ".".join(mangled.split("ǁ")[1:]) if "ǁ" in mangled else mangled.removeprefix("x_")


def _difference(name: str, source: Path) -> tuple[str, str]:
    lines = get_diff_for_mutant(name, path=source).split(os.linesep)
    removed = [line[1:].strip() for line in lines if line.startswith("-") and not line.startswith("---")]
    added = [line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++")]
    return " ".join(removed), " ".join(added)


def forget_survivors(tree: Path, module: str) -> None:
    """Makes mutmut test again what was not killed, with the tests as they are now."""
    meta = _meta(tree, module)
    if not meta.exists():
        return
    content = json.loads(meta.read_text())
    codes = content["exit_code_by_key"]
    content["exit_code_by_key"] = {name: code if code == 1 else None for name, code in codes.items()}
    meta.write_text(json.dumps(content))
    (tree / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
