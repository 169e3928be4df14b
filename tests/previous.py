"""The code of the previous release, unpacked from the Git history. It runs with the present dependencies."""

import io
import os
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from livebalance.stack.paths import PROJECT

PINNED: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
_TIMEOUT_SECONDS = 120


class Previous(NamedTuple):
    """A directory with the code of the previous release."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which Python imports this code instead of the installed packages."""
        members = sorted(member.parent for member in self.root.glob("*/*/pyproject.toml"))
        return {"PYTHONPATH": os.pathsep.join(map(str, members))}


class NoHistoryError(Exception):
    """The commit of the previous release is not in this clone."""


def unpack(directory: Path) -> Previous:
    """Unpacks the previous release. Raises NoHistoryError."""
    try:
        content = _git("archive", "--format=zip", PINNED["commit"])
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoHistoryError(
            f"this clone has no commit {PINNED['commit'][:12]}, the previous release (git fetch --unshallow)"
        ) from error
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(directory)
    return Previous(directory)


def is_complete_clone() -> bool:
    """Tells whether this clone has the whole history."""
    try:
        return _git("rev-parse", "--is-shallow-repository").strip() == b"false"
    except (OSError, subprocess.CalledProcessError):
        return False


def _git(*words: str) -> bytes:
    return subprocess.run(
        ["git", *words], cwd=PROJECT, check=True, capture_output=True, timeout=_TIMEOUT_SECONDS
    ).stdout
