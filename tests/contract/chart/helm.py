"""The chart as Helm itself renders it."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from livebalance.stack.paths import PROJECT

CHART = PROJECT / "deploy" / "helm" / "livebalance"
HERE = Path(__file__).parent
SETS = ("minimal", "everything", "sparing")
VERSIONS = (
    "1.30",
    "1.33",
    "1.37",
)  # of Kubernetes: the oldest that the chart takes, one between, the newest known
RELEASE = "livebalance"
_MAJOR = "v4."

Document = dict[str, Any]


class Answer(NamedTuple):
    code: int
    out: str
    error: str


@cache
def binary() -> str:
    """Path of Helm 4. Without one the test is left out, and says so; in CI it fails."""
    places = f"{os.environ['PATH']}{os.pathsep}{Path.home() / 'go' / 'bin'}"
    found = shutil.which("helm", path=places)
    if not found or not _asked(found, "version", "--template", "{{.Version}}").out.startswith(_MAJOR):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "left out: no Helm 4 here (go install helm.sh/helm/v4/cmd/helm@v4.3.1)"
        )
    return found


def _asked(*command: str) -> Answer:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)


def asked(*words: str) -> Answer:
    return _asked(binary(), *words)


def values(name: str) -> Path:
    return HERE / f"{name}.values.yaml"


@cache
def template(name: str, *more: str) -> Answer:
    """Of a set of values here, and what `more` changes: `--set`, say."""
    where = ("--namespace", RELEASE, "--kube-version", VERSIONS[-1])
    return asked("template", RELEASE, str(CHART), *where, "--values", str(values(name)), *more)


def text(name: str, *more: str) -> str:
    answer = template(name, *more)
    assert answer.code == 0, answer.error
    return answer.out


def documents(name: str, *more: str) -> list[Document]:
    return [one for one in yaml.safe_load_all(text(name, *more)) if one]


def golden(name: str) -> Path:
    return HERE / f"{name}.rendered.yaml"
