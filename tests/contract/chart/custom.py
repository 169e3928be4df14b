"""Schemas of objects that are not Kubernetes' own, as their makers publish them: in their Go modules."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

Schema = dict[str, Any]


class Published(NamedTuple):
    module: str
    file: str
    version: str


PUBLISHED = {
    "HTTPRoute": Published(
        "sigs.k8s.io/gateway-api@v1.6.3",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
        "v1",
    ),
    "ScaledObject": Published(
        "github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml", "v1alpha1"
    ),
}


def schema(kind: str) -> Schema:
    """Closed: a field that is not in it is refused, where a cluster would drop it without a word.

    Without Go the test is left out, and says so; in CI it fails.
    """
    go = shutil.which("go")
    if go is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "left out: no Go here to download schemas with"
        )
    one = PUBLISHED[kind]
    command = [go, "mod", "download", "-json", one.module]
    told = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, cwd=Path.home())
    definition = yaml.safe_load((Path(json.loads(told.stdout)["Dir"]) / one.file).read_text())
    [version] = [found for found in definition["spec"]["versions"] if found["name"] == one.version]
    found: Schema = _closed(version["schema"]["openAPIV3Schema"])
    found["properties"]["metadata"] = {"type": "object"}
    return found


def _closed(one: Any) -> Any:
    if isinstance(one, list):
        return [_closed(each) for each in one]
    if not isinstance(one, dict):
        return one
    inner = {name: _closed(value) for name, value in one.items() if name != "format"}
    if "properties" in one and not one.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner
