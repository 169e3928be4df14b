"""Processes of the previous release run its code only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.previous import PINNED, NoHistoryError, Previous, unpack

_WHERE = """
import importlib, pkgutil, livebalance
for module in pkgutil.iter_modules(livebalance.__path__):
    print(importlib.import_module(f"livebalance.{module.name}").__path__[0])
"""
NEWER = "generator"  # a package that the previous release does not have


def test_previous_release_imports_its_own_packages(previous: Previous) -> None:
    command = (sys.executable, "-c", _WHERE)
    environment = {**os.environ, **previous.environment}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120)
    folders = [Path(line) for line in result.stdout.splitlines()]
    assert {folder.name for folder in folders} >= {
        "wire",
        "readmodel",
        "client",
        "projector",
        "recorder",
        "gateway",
    }
    assert [
        folder for folder in folders if folder.name != NEWER and not folder.is_relative_to(previous.root)
    ] == []


def test_clone_without_history_fails_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PINNED, "commit", "0" * 40)
    with pytest.raises(NoHistoryError, match="git fetch --unshallow"):
        unpack(tmp_path)
