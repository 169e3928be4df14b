"""Prometheus and its tool, as this machine has them."""

import os
import shutil

import pytest


def found(name: str) -> str:
    """Path of `prometheus` or `promtool`. Without it the test is left out, and says so; in CI it fails."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"left out: no {name} here (Debian: the package prometheus)"
        )
    return path
