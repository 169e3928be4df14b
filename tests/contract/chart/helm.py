"""Renders the chart with Helm."""

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
VALUE_SETS = ("minimal", "everything", "reduced")
# The oldest version of Kubernetes that the chart supports, a version between, and the newest with a schema.
KUBERNETES_VERSIONS = ("1.30", "1.33", "1.37")
RELEASE = "livebalance"
_MAJOR = "v4."

Document = dict[str, Any]


class Result(NamedTuple):
    """Result of a command."""

    exit_code: int
    stdout: str
    stderr: str


@cache
def binary() -> str:
    """Returns the path of Helm 4. Without Helm 4 the test is skipped, and fails in CI."""
    search_path = f"{os.environ['PATH']}{os.pathsep}{Path.home() / 'go' / 'bin'}"
    path = shutil.which("helm", path=search_path)
    if not path or not _run(path, "version", "--template", "{{.Version}}").stdout.startswith(_MAJOR):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "skipped: no Helm 4 (go install helm.sh/helm/v4/cmd/helm@v4.3.1)"
        )
    return path


def _run(*command: str) -> Result:
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return Result(process.returncode, process.stdout, process.stderr)


def run_helm(*arguments: str) -> Result:
    return _run(binary(), *arguments)


def values_path(name: str) -> Path:
    return HERE / f"{name}.values.yaml"


def rendering_path(name: str) -> Path:
    return HERE / f"{name}.rendered.yaml"


@cache
def try_render(name: str, *options: str) -> Result:
    """Renders a set of values, with further options of `helm template` such as `--set`."""
    defaults = ("--namespace", RELEASE, "--kube-version", KUBERNETES_VERSIONS[-1])
    values = ("--values", str(values_path(name)))
    return run_helm("template", RELEASE, str(CHART), *defaults, *values, *options)


def render(name: str, *options: str) -> str:
    """Returns what `try_render` renders. Raises AssertionError with the message of Helm."""
    result = try_render(name, *options)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def render_documents(name: str, *options: str) -> list[Document]:
    """Returns the objects in a rendering."""
    return [document for document in yaml.safe_load_all(render(name, *options)) if document]
