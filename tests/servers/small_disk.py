"""A small file system that a test may fill."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system of some megabytes, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leaves no free byte."""
        with self._filler.open("wb", buffering=0) as file:
            while free := os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize:
                file.write(bytes(min(free, 1 << 20)))

    def free(self) -> None:
        """Frees what `fill` took."""
        self._filler.unlink()


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounts a disk while the block runs. The test is skipped where this process may not mount."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("skipped: this process may not mount a file system (run as root)")
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: a server that has just ended may still be releasing its files.
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=10)
