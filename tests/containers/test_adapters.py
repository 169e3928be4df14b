"""Tests of each adapter, on servers that the stack runs in containers (LIVEBALANCE_STACK=docker)."""

import subprocess
import sys
from os import environ

import pytest

from livebalance.stack.paths import PROJECT
from livebalance.stack.servers.container import IMAGES
from tests.containers.engine import docker

TIMEOUT = 1200.0
# A part suffices, because all integration tests get their servers from the same fixtures.
TESTS = [
    "stack/test_fixtures.py",
    "runtime/test_reader.py",
    "readmodel/test_projection.py",
    "feed/test_feed.py",
    "recorder/test_recorder.py",
    "projector/test_projection.py",
    "gateway/test_stream.py",
]


@pytest.mark.usefixtures("engine")
@pytest.mark.timeout(1500)
def test_tests_of_adapters_pass_on_servers_in_containers() -> None:
    external = {f"LIVEBALANCE_{name.upper()}" for name in IMAGES}
    environment = {name: value for name, value in environ.items() if name not in external}
    begin = docker("info", "--format", "{{.SystemTime}}").strip()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(f"tests/integration/{name}" for name in TESTS)],
        cwd=PROJECT,
        env={**environment, "LIVEBALANCE_STACK": "docker"},
        check=True,
        timeout=TIMEOUT,
    )
    end = docker("info", "--format", "{{.SystemTime}}").strip()
    started = ["events", "--since", begin, "--until", end, "--filter", "event=start"]
    images = docker(*started, "--format", "{{.Actor.Attributes.image}}").split()
    assert set(images) >= set(IMAGES.values())
