"""Two stacks of one checkout build the page once; a stack that is stopped waits no longer."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from livebalance.stack.build import node
from livebalance.stack.build import page as page_module
from livebalance.stack.build.page import PageBuild
from livebalance.stack.paths import StatePaths

# Says that it builds, and waits until it may end.
_BUILD = """
import pathlib, sys, time
directory = pathlib.Path(sys.argv[1])
with (directory / "builds").open("a") as file:
    file.write("build\\n")
while not (directory / "end").exists():
    time.sleep(0.02)
(directory / "index.html").touch()
"""

NewBuild = Callable[[], PageBuild]


@pytest.fixture
def new_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewBuild:
    """Returns a function that makes a build of a page of this test, by a stack of its own."""
    web = tmp_path / "web"
    web.mkdir()
    (web / "package.json").write_text("{}")
    (web / "package-lock.json").write_text("{}")
    (web / "node_modules").mkdir()
    monkeypatch.setattr(node, "WEB", web)
    monkeypatch.setattr(node, "TS_CLIENT", web)
    monkeypatch.setattr(page_module, "PROJECT", tmp_path)
    monkeypatch.setattr(page_module, "PAGE_DIRECTORY", tmp_path)
    node.mark_installed(web)

    def make() -> PageBuild:
        build = PageBuild(StatePaths(tmp_path, tmp_path / "state"))
        build._build.command = [sys.executable, "-c", _BUILD, str(tmp_path)]
        return build

    return make


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool
        (tmp_path / "end").touch()


def _builds(directory: Path) -> int:
    log = directory / "builds"
    return len(log.read_text().splitlines()) if log.exists() else 0


def _start(pool: ThreadPoolExecutor, build: PageBuild, directory: Path) -> None:
    """Starts a build, and returns while it runs."""
    pool.submit(build.build)
    while _builds(directory) == 0:
        pass


def _wait_for_another(pool: ThreadPoolExecutor, build: PageBuild) -> "Future[None]":
    """Starts a build, and returns while it waits for another."""
    blocked, wait = threading.Event(), build._cancelled.wait

    def waits(seconds: float) -> bool:
        blocked.set()
        return wait(seconds)

    build._cancelled.wait = waits  # type: ignore[method-assign, assignment]
    waiting = pool.submit(build.build)
    assert blocked.wait(60)
    return waiting


def test_page_is_built_once_by_two_stacks(
    new_build: NewBuild, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    first, second = new_build(), new_build()
    _start(pool, first, tmp_path)
    waiting = _wait_for_another(pool, second)
    (tmp_path / "end").touch()
    waiting.result(60)
    assert second.is_current
    assert _builds(tmp_path) == 1


def test_stopped_stack_does_not_wait_for_the_build_of_another(
    new_build: NewBuild, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    _start(pool, new_build(), tmp_path)
    stopped = new_build()
    waiting = _wait_for_another(pool, stopped)
    stopped.cancel()
    waiting.result(60)
    assert _builds(tmp_path) == 1
