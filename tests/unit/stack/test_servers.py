"""The choice of servers: external servers from the environment before embedded servers."""

from pathlib import Path

import pytest

from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers


def test_external_servers_are_used_and_none_is_started(
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


def test_servers_without_an_address_are_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVEBALANCE_KAFKA", "LIVEBALANCE_REDIS", "LIVEBALANCE_STACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIVEBALANCE_POSTGRES", "postgresql://me@127.0.0.1:5432/mine")
    assert set(Servers(StatePaths(tmp_path, tmp_path / "state")).embedded) == {"kafka", "redis"}
    assert set(Servers(StatePaths(tmp_path, tmp_path / "other"), parts=["redis"]).embedded) == {"redis"}
