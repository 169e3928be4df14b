"""What an engine is told when the stack's servers shall be containers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from docker.errors import DockerException
from redis.exceptions import RedisError

from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers import kafka, postgres
from livebalance.stack.servers.container import IMAGES, remove_volumes, volume_name
from livebalance.stack.servers.servers import NAMES, Servers
from tests.engine import Engine
from tests.servers.disposable import disposable_servers


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StatePaths:
    for name in NAMES:
        monkeypatch.delenv(f"LIVEBALANCE_{name.upper()}", raising=False)
    monkeypatch.setattr("redis.Redis.ping", lambda self: True)
    return StatePaths(tmp_path, tmp_path / "state")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    engine.install(monkeypatch)
    return engine


def test_no_engine_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    command = tmp_path / "docker"  # a command line alone proves nothing
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock",
        "LIVEBALANCE_STATE_DIRECTORY": str(tmp_path),
        "LIVEBALANCE_STACK": "docker",
    }
    demo = [sys.executable, "-m", "livebalance.stack", "demo", "--no-page"]
    answer = subprocess.run(demo, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 1
    [line] = answer.stderr.splitlines()
    assert "no Docker engine answers: start one" in line


def test_another_way_is_refused(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEBALANCE_STACK", "podman")
    with pytest.raises(StackError, match="podman is not known: say docker or embedded"):
        Servers(paths)


def test_a_server_that_is_named_needs_no_container(
    paths: StatePaths, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEBALANCE_KAFKA", "127.0.0.1:9092")
    with Servers(paths) as servers:
        assert servers.kafka == "127.0.0.1:9092"
        assert {one.image for one in engine.containers} == {IMAGES["postgres"], IMAGES["redis"]}
        assert servers.embedded == {}


def test_each_is_told_what_the_embedded_one_is(paths: StatePaths, engine: Engine) -> None:
    with Servers(paths) as servers:
        told = {one.image: one.told for one in engine.containers}
    assert told.keys() == set(IMAGES.values())
    for one in told.values():
        assert [host for host, _ in one["ports"].values()] == ["127.0.0.1"]
    port = int(servers.kafka.partition(":")[2])
    properties = kafka.properties(f"0.0.0.0:{port}", servers.kafka, port + 1, "/var/lib/kafka/data/log")
    assert told[IMAGES["kafka"]]["environment"] == kafka.environment(properties)
    words = postgres.options(postgres.settings(durable=True))
    assert told[IMAGES["postgres"]]["command"] == ["postgres", *words]
    assert told[IMAGES["postgres"]]["environment"]["POSTGRES_USER"] == postgres.OWNER
    assert told[IMAGES["postgres"]]["environment"]["POSTGRES_HOST_AUTH_METHOD"] == "trust"


def test_what_is_durable_is_in_a_volume_of_the_place(
    paths: StatePaths, engine: Engine, tmp_path: Path
) -> None:
    for _ in range(2):
        with Servers(paths):
            pass
    mounts = {one.image: one.told["volumes"] for one in engine.containers}
    assert mounts == {
        IMAGES["kafka"]: {volume_name(paths, "kafka"): {"bind": "/var/lib/kafka/data", "mode": "rw"}},
        IMAGES["postgres"]: {volume_name(paths, "postgres"): {"bind": "/var/lib/postgresql", "mode": "rw"}},
        IMAGES["redis"]: {},
    }
    assert volume_name(StatePaths(tmp_path, tmp_path / "other"), "kafka") not in engine.volumes
    remove_volumes(paths)
    assert engine.volumes == set()
    remove_volumes(paths)  # nothing is there to be forgotten


def test_what_is_not_durable_leaves_nothing(paths: StatePaths, engine: Engine) -> None:
    with Servers(paths, durable=False):
        assert engine.volumes == set()
        [told] = [one.told for one in engine.containers if one.image == IMAGES["postgres"]]
        assert "fsync=off" in told["command"]


def test_each_is_stopped_cleanly_and_then_removed(paths: StatePaths, engine: Engine) -> None:
    with Servers(paths, parts=["kafka"]):
        assert engine.said == ["apache/kafka start"]
    assert engine.said == ["apache/kafka start", "apache/kafka stop 20", "apache/kafka remove"]


@pytest.mark.parametrize("kind", [DockerException, TimeoutError, RuntimeError, RedisError])
def test_one_that_does_not_come_up_is_one_line_and_none_is_left(
    paths: StatePaths, engine: Engine, kind: type[Exception]
) -> None:
    engine.trouble = kind("pull access denied\nand more")
    with pytest.raises(
        StackError, match="kafka did not come up in a container: pull access denied "
    ) as caught:
        Servers(paths, parts=["kafka"]).start()
    assert "\n" not in str(caught.value)
    assert engine.said[-1] == "apache/kafka remove"


def test_what_is_to_be_harmed_is_a_process_of_ours(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEBALANCE_REDIS", "redis://127.0.0.1:1/0")
    assert Servers(paths, parts=["redis"]).embedded == {}
    assert set(disposable_servers(paths, "redis").embedded) == {"redis"}
    assert set(disposable_servers(paths, "kafka").embedded) == {"kafka"}
