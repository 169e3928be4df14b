"""What a reader needs to know about a measurement: commit, date, versions, machine and load."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version

_LIBRARIES = ("redis", "uvicorn", "starlette", "hiredis")


def provenance() -> tuple[str, str]:
    """Returns where and when the measurement ran, as two parts of a sentence."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores; load average at the end {load}."
    return f"at {commit} on {datetime.now(UTC):%Y-%m-%d}", f"{versions}, {machine}"
