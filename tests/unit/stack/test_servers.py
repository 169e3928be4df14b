"""Which servers are used: those named in the environment before those of our own."""

from pathlib import Path

import pytest

from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers


def test_servers_that_are_named_are_used_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEBALANCE_KAFKA", "127.0.0.1:9092")
    monkeypatch.setenv("LIVEBALANCE_POSTGRES", "postgresql://me:secret@127.0.0.1:5432/mine")
    monkeypatch.setenv("LIVEBALANCE_REDIS", "redis://127.0.0.1:6379/3")
    with Servers(StatePaths(tmp_path, tmp_path / "state")) as servers:
        assert servers.embedded == {}
        assert servers.kafka == "127.0.0.1:9092"
        assert servers.postgres("gateway") == "postgresql://me:secret@127.0.0.1:5432/livebalance"
        assert servers.redis(5) == "redis://127.0.0.1:6379/5"


def test_what_is_not_named_is_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVEBALANCE_KAFKA", "LIVEBALANCE_REDIS", "LIVEBALANCE_STACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIVEBALANCE_POSTGRES", "postgresql://me@127.0.0.1:5432/mine")
    assert set(Servers(StatePaths(tmp_path, tmp_path / "state")).embedded) == {"kafka", "redis"}
    assert set(Servers(StatePaths(tmp_path, tmp_path / "other"), parts=["redis"]).embedded) == {"redis"}
