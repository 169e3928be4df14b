"""The state directory: who holds it, and who only looks."""

from pathlib import Path

import pytest

from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths
from livebalance.stack.state import ClusterState


def test_who_looks_makes_nothing(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path / "home", tmp_path / "home" / "demo")
    assert ClusterState.read(paths) == ClusterState()
    assert list(tmp_path.iterdir()) == []


def test_who_holds_it_is_seen_and_who_looks_is_not(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path, tmp_path / "demo")
    with paths.locked():
        assert paths.is_locked()
        with pytest.raises(StackError, match="is in use"), paths.locked():
            pass
        (paths.state / "lock").chmod(0o444)  # as another user sees it
        assert paths.is_locked()
    assert not paths.is_locked()


def test_what_cannot_be_looked_at_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("not a directory")
    with pytest.raises(StackError, match=r"Not a directory: .*lock"):
        StatePaths(tmp_path, tmp_path / "demo").is_locked()
