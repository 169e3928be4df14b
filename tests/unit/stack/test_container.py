"""Servers in containers: the calls and options for the Docker engine."""

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
from tests.servers.disposable import disposable_servers
from tests.servers.fake_docker import FakeEngine


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StatePaths:
    for name in NAMES:
        monkeypatch.delenv(f"LIVEBALANCE_{name.upper()}", raising=False)
    monkeypatch.setattr("redis.Redis.ping", lambda self: True)
    return StatePaths(tmp_path, tmp_path / "state")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    engine = FakeEngine()
    engine.install(monkeypatch)
    return engine


def test_missing_engine_gives_one_error_line(tmp_path: Path) -> None:
    command = tmp_path / "docker"  # the command exists, but no engine answers
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "LIVEBALANCE_STATE_DIRECTORY": str(tmp_path),
        "LIVEBALANCE_STACK": "docker",
    }
    demo = [sys.executable, "-m", "livebalance.stack", "demo", "--no-page"]
    result = subprocess.run(demo, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert "no Docker engine answers: start one" in line


def test_unknown_mode_is_refused(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEBALANCE_STACK", "podman")
    with pytest.raises(StackError, match="podman is unknown: set it to docker or embedded"):
        Servers(paths)


def test_external_server_needs_no_container(
    paths: StatePaths, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEBALANCE_KAFKA", "127.0.0.1:9092")
    with Servers(paths) as servers:
        assert servers.kafka == "127.0.0.1:9092"
        assert {container.image for container in engine.containers} == {IMAGES["postgres"], IMAGES["redis"]}
        assert servers.embedded == {}


def test_containers_get_the_settings_of_embedded_servers(paths: StatePaths, engine: FakeEngine) -> None:
    with Servers(paths) as servers:
        options = {container.image: container.options for container in engine.containers}
    assert options.keys() == set(IMAGES.values())
    for of_container in options.values():
        assert [host for host, _ in of_container["ports"].values()] == ["127.0.0.1"]
    port = int(servers.kafka.partition(":")[2])
    properties = kafka.properties(f"0.0.0.0:{port}", servers.kafka, port + 1, "/var/lib/kafka/data/log")
    assert options[IMAGES["kafka"]]["environment"] == kafka.environment(properties)
    arguments = postgres.options(postgres.settings(durable=True))
    assert options[IMAGES["postgres"]]["command"] == ["postgres", *arguments]
    assert options[IMAGES["postgres"]]["environment"]["POSTGRES_USER"] == postgres.OWNER
    assert options[IMAGES["postgres"]]["environment"]["POSTGRES_HOST_AUTH_METHOD"] == "trust"


def test_durable_data_is_in_volumes_named_after_the_state_directory(
    paths: StatePaths, engine: FakeEngine, tmp_path: Path
) -> None:
    for _ in range(2):
        with Servers(paths):
            pass
    mounts = {container.image: container.options["volumes"] for container in engine.containers}
    assert mounts == {
        IMAGES["kafka"]: {volume_name(paths, "kafka"): {"bind": "/var/lib/kafka/data", "mode": "rw"}},
        IMAGES["postgres"]: {volume_name(paths, "postgres"): {"bind": "/var/lib/postgresql", "mode": "rw"}},
        IMAGES["redis"]: {},
    }
    assert volume_name(StatePaths(tmp_path, tmp_path / "other"), "kafka") not in engine.volumes
    remove_volumes(paths)
    assert engine.volumes == set()
    remove_volumes(paths)  # without volumes it does nothing


def test_servers_that_are_not_durable_have_no_volumes(paths: StatePaths, engine: FakeEngine) -> None:
    with Servers(paths, durable=False):
        assert engine.volumes == set()
        [options] = [
            container.options for container in engine.containers if container.image == IMAGES["postgres"]
        ]
        assert "fsync=off" in options["command"]


def test_containers_are_stopped_and_then_removed(paths: StatePaths, engine: FakeEngine) -> None:
    with Servers(paths, parts=["kafka"]):
        assert engine.calls == ["apache/kafka start"]
    assert engine.calls == ["apache/kafka start", "apache/kafka stop 20", "apache/kafka remove"]


@pytest.mark.parametrize("kind", [DockerException, TimeoutError, RuntimeError, RedisError])
def test_container_that_does_not_start_gives_one_error_line_and_is_removed(
    paths: StatePaths, engine: FakeEngine, kind: type[Exception]
) -> None:
    engine.start_error = kind("pull access denied\nand more")
    with pytest.raises(StackError, match="kafka did not start in a container: pull access denied ") as caught:
        Servers(paths, parts=["kafka"]).start()
    assert "\n" not in str(caught.value)
    assert engine.calls[-1] == "apache/kafka remove"


def test_disposable_servers_are_embedded_despite_the_environment(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEBALANCE_REDIS", "redis://127.0.0.1:1/0")
    assert Servers(paths, parts=["redis"]).embedded == {}
    assert set(disposable_servers(paths, "redis").embedded) == {"redis"}
    assert set(disposable_servers(paths, "kafka").embedded) == {"kafka"}
