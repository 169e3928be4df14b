"""The build of the page in `services/web`, which runs only if its sources have changed."""

import fcntl
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from livebalance.stack.build import node
from livebalance.stack.paths import PROJECT, StatePaths
from livebalance.stack.process.process import ChildProcess

PAGE_DIRECTORY = node.WEB / "dist" / "web" / "browser"
_POLL_SECONDS = 0.2  # between attempts to get the lock
_NOT_SOURCES = {"node_modules", "dist", ".angular"}


class PageBuild:
    """A build that runs in a thread and can be cancelled from another."""

    def __init__(self, paths: StatePaths) -> None:
        self._fingerprint_file = paths.home / "page.sha256"
        self._install = ChildProcess(
            "npm ci", node.NPM_CI, paths.log("npm"), node.environment(), directory=node.WEB
        )
        self._build = ChildProcess(
            "ng build", node.NPM_BUILD, paths.log("ng"), node.environment(), directory=node.WEB
        )
        self._cancelled = threading.Event()

    @property
    def is_current(self) -> bool:
        """Whether the built page was made from the present sources."""
        exists = self._fingerprint_file.exists() and (PAGE_DIRECTORY / "index.html").exists()
        return exists and self._fingerprint_file.read_text() == _fingerprint()

    def build(self) -> None:
        """Builds the page if it is not current. Waits while another stack of this checkout builds it.

        Raises:
            StackError: the build failed.
        """
        with self._locked():
            if not (self._cancelled.is_set() or self.is_current):
                self._build_now()

    def _build_now(self) -> None:
        if not node.is_installed(node.WEB):
            self._install.start()
            self._install.wait(600)
            node.mark_installed(node.WEB)
        self._build.start()
        self._build.wait(300)
        self._fingerprint_file.write_text(_fingerprint())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (node.WEB / "package.json").open() as file:
            while not self._cancelled.is_set():
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._cancelled.wait(_POLL_SECONDS)
            yield

    def cancel(self) -> None:
        """Kills a running build, and ends the wait for another."""
        self._cancelled.set()
        self._install.kill()
        self._build.kill()


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(_sources(node.WEB) + _sources(node.TS_CLIENT)):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _sources(directory: Path) -> list[Path]:
    sources: list[Path] = []
    for path in directory.iterdir():
        if path.is_file():
            sources.append(path)
        elif path.name not in _NOT_SOURCES:
            sources += _sources(path)
    return sources
