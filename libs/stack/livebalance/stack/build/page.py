"""The built page: made from `services/web` when that has changed, and only then."""

import hashlib
from pathlib import Path

from livebalance.stack.build import node
from livebalance.stack.paths import StatePaths
from livebalance.stack.process.process import ChildProcess

BUILT = node.WEB / "dist" / "web" / "browser"
_NOT_SOURCES = {"node_modules", "dist", ".angular"}


class PageBuild:
    """A build that runs in a thread and can be given up from another."""

    def __init__(self, place: StatePaths) -> None:
        self._stamp = place.home / "page.sha256"
        self._children = [
            ChildProcess("npm ci", node.NPM_CI, place.log("npm"), node.environment(), directory=node.WEB),
            ChildProcess("ng build", node.NG_BUILD, place.log("ng"), node.environment(), directory=node.WEB),
        ]

    @property
    def is_new(self) -> bool:
        """Whether the page that is there was made from these sources."""
        there = self._stamp.exists() and (BUILT / "index.html").exists()
        return there and self._stamp.read_text() == _fingerprint()

    def build(self) -> Path:
        """Make it if it is not new; returns its directory.

        Raises:
            Trouble: the build failed.
        """
        if not self.is_new:
            install, make = self._children
            if not node.is_installed():
                install.start()
                install.finish(600)
                node.installed()
            make.start()
            make.finish(300)
            self._stamp.write_text(_fingerprint())
        return BUILT

    def give_up(self) -> None:
        """End a build that is under way."""
        for child in self._children:
            child.kill()


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(_sources(node.WEB)):
        digest.update(f"{path.relative_to(node.WEB)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _sources(directory: Path) -> list[Path]:
    found: list[Path] = []
    for path in directory.iterdir():
        if path.is_file():
            found.append(path)
        elif path.name not in _NOT_SOURCES:
            found += _sources(path)
    return found
