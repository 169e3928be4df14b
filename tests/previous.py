"""The code of the release before, beside today's: unpacked from the history, run with today's libraries."""

import io
import os
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from livebalance.stack.paths import PROJECT

PINNED: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
_WITHIN = 30  # seconds


class Previous(NamedTuple):
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """With it a Python has this code of `livebalance`: it goes before what is installed."""
        members = sorted(member.parent for member in self.root.glob("*/*/pyproject.toml"))
        return {"PYTHONPATH": os.pathsep.join(map(str, members))}


class NoHistoryError(Exception):
    """There is no such commit in this clone."""


def unpack(into: Path) -> Previous:
    """Raises NoHistoryError."""
    try:
        packed = _git("archive", "--format=zip", PINNED["commit"])
    except (OSError, subprocess.CalledProcessError) as missing:
        raise NoHistoryError(
            f"this clone has no commit {PINNED['commit'][:12]}, the release before (git fetch --unshallow)"
        ) from missing
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(into)
    return Previous(into)


def is_whole() -> bool:
    """Whether this is a clone that has all that was before its last commit."""
    try:
        return _git("rev-parse", "--is-shallow-repository").strip() == b"false"
    except (OSError, subprocess.CalledProcessError):
        return False


def _git(*words: str) -> bytes:
    return subprocess.run(
        ["git", *words], cwd=PROJECT, check=True, capture_output=True, timeout=_WITHIN
    ).stdout
