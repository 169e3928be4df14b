"""Schemas of custom resources, from the Go modules in which their projects publish them."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

Schema = dict[str, Any]


class CrdFile(NamedTuple):
    """A file with a CustomResourceDefinition, and the version of the resource in it."""

    module: str
    file: str
    version: str


CRD_FILES = {
    "HTTPRoute": CrdFile(
        "sigs.k8s.io/gateway-api@v1.6.3",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
        "v1",
    ),
    "ScaledObject": CrdFile(
        "github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml", "v1alpha1"
    ),
}


def load_schema(kind: str) -> Schema:
    """Returns the schema of a kind, closed: it rejects unknown fields, which a cluster would silently drop.

    Without Go the test is skipped, and fails in CI.
    """
    go = shutil.which("go")
    if go is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("skipped: no Go to download schemas with")
    crd_file = CRD_FILES[kind]
    command = [go, "mod", "download", "-json", crd_file.module]
    download = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, cwd=Path.home()
    )
    definition = yaml.safe_load((Path(json.loads(download.stdout)["Dir"]) / crd_file.file).read_text())
    [version] = [version for version in definition["spec"]["versions"] if version["name"] == crd_file.version]
    schema: Schema = _close(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _close(node: Any) -> Any:
    if isinstance(node, list):
        return [_close(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {name: _close(value) for name, value in node.items() if name != "format"}
    if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed
