"""A scratch folder in which mutmut mutates a module.

mutmut names a module after its path, so the packages of all members lie in one folder `livebalance` there.
"""

import hashlib
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import tomli_w

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("wire", "readmodel", "client", "projector", "recorder", "gateway")
IGNORED = shutil.ignore_patterns("__pycache__", ".hypothesis", "acceptance", "bench")

# A test that plants a mutant of its own would notice the others too late.
PYTEST = ["-m", "not mutant", "-p", "tests.mutation.quick", "--timeout=60"]
PYTEST += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]


def lay_out(module: str, tests: list[str], keep: bool) -> Path:
    """Returns the folder of a module. Verdicts stay while module and tests stay, or if `keep` is set."""
    tree = PROJECT / ".livebalance" / "mutants" / module
    digest = hashlib.sha256(repr((tests, PYTEST)).encode())
    for path in _inputs(module, tests):
        digest.update(path.read_bytes())
    stamp = tree / "inputs"
    if not stamp.exists() or not (keep or stamp.read_text() == digest.hexdigest()):
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        stamp.write_text(digest.hexdigest())
    _copy_inputs(tree)
    (tree / "pyproject.toml").write_text(_configuration(module, tests))
    return tree


def _copy_inputs(tree: Path) -> None:
    for package in PACKAGES:
        (member,) = PROJECT.glob(f"*/{package}/livebalance/{package}")
        shutil.copytree(member, tree / "livebalance" / package, ignore=IGNORED, dirs_exist_ok=True)
    for name in ("tests", "libs/wire/vectors"):
        shutil.copytree(PROJECT / name, tree / name, ignore=IGNORED, dirs_exist_ok=True)


def _inputs(module: str, tests: list[str]) -> Iterator[Path]:
    """Returns the module, its tests and what stands beside them, and the plugin."""
    yield from PROJECT.glob(f"*/*/{module.replace('.', '/')}.py")
    yield Path(__file__).with_name("quick.py")
    for name in tests:
        path = PROJECT / name
        folder = path if path.is_dir() else path.parent
        yield from sorted(
            file for file in folder.glob("*.py") if file == path or path.is_dir() or not file.match("test_*")
        )


def _configuration(module: str, tests: list[str]) -> str:
    mutmut = {
        "source_paths": ["livebalance"],
        "only_mutate": [module.replace(".", "/") + ".py"],
        "also_copy": ["libs"],
        "pytest_add_cli_args": PYTEST,
        "pytest_add_cli_args_test_selection": tests,
        "timeout_constant": 10.0,
        "timeout_multiplier": 3.0,
        "use_git_change_detection": False,
        "process_isolation": "forkserver",
    }
    pytest = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["pytest"]
    return tomli_w.dumps({"tool": {"mutmut": mutmut, "pytest": pytest}})
