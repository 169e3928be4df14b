"""The running project of docker-compose.yml. Without an engine or base images, all tests are left out."""

import time
from collections.abc import Iterator
from os import getpid

import pytest

from tests.containers.compose_project import ComposeProject
from tests.containers.engine import base_images, is_available, succeeds


@pytest.fixture(scope="session")
def engine() -> None:
    """Leaves a test out unless an engine answers that has all base images, or can pull them."""
    if not succeeds("info"):
        pytest.skip("left out: no Docker engine answers")
    for image in sorted(base_images() | ComposeProject("livebalance-test").images()):
        if not is_available(image):
            pytest.skip(f"left out: the engine neither has nor can pull {image}")


@pytest.fixture(scope="session")
def built(engine: None) -> ComposeProject:
    """A project whose images are built."""
    project = ComposeProject(f"livebalance-test-{getpid()}")
    begin = time.monotonic()
    project.build()
    print(f"build: {time.monotonic() - begin:.0f} s")
    return project


@pytest.fixture(scope="session")
def project(built: ComposeProject) -> Iterator[ComposeProject]:
    """A project that is up and healthy."""
    begin = time.monotonic()
    try:
        built.up()
        print(f"up: {time.monotonic() - begin:.0f} s")
        yield built
    finally:
        begin = time.monotonic()
        built.down()
        print(f"down: {time.monotonic() - begin:.0f} s")
