"""What is run as the release before is its code, and none of today's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.previous import PINNED, NoHistoryError, Previous, unpack

_WHERE = """
import importlib, pkgutil, livebalance
for found in pkgutil.iter_modules(livebalance.__path__):
    print(importlib.import_module(f"livebalance.{found.name}").__path__[0])
"""
NEWER = "generator"  # a package that the previous release does not have


def test_it_is_the_code_of_then(previous: Previous) -> None:
    words = (sys.executable, "-c", _WHERE)
    environment = {**os.environ, **previous.environment}
    ran = subprocess.run(words, env=environment, check=True, capture_output=True, text=True, timeout=30)
    places = [Path(line) for line in ran.stdout.splitlines()]
    assert {place.name for place in places} >= {
        "wire",
        "readmodel",
        "client",
        "projector",
        "recorder",
        "gateway",
    }
    assert [
        place for place in places if place.name != NEWER and not place.is_relative_to(previous.root)
    ] == []


def test_without_history_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PINNED, "commit", "0" * 40)
    with pytest.raises(NoHistoryError, match="git fetch --unshallow"):
        unpack(tmp_path)
