"""The lock of the state directory."""

from pathlib import Path

import pytest

from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths
from livebalance.stack.state import ClusterState


def test_reading_the_state_creates_no_file(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path / "home", tmp_path / "home" / "demo")
    assert ClusterState.read(paths) == ClusterState()
    assert list(tmp_path.iterdir()) == []


def test_lock_is_seen_by_other_processes_but_a_check_is_not(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path, tmp_path / "demo")
    with paths.locked():
        assert paths.is_locked()
        with pytest.raises(StackError, match="is in use"), paths.locked():
            pass
        (paths.state / "lock").chmod(0o444)  # as for another user
        assert paths.is_locked()
    assert not paths.is_locked()


def test_unreadable_lock_gives_one_error_line(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("not a directory")
    with pytest.raises(StackError, match=r"Not a directory: .*lock"):
        StatePaths(tmp_path, tmp_path / "demo").is_locked()
