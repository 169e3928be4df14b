"""Fixtures: the packed TypeScript client, and a project that has installed it."""

from pathlib import Path

import pytest

from tests.integration.gateway.typescript import project


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed file of @livebalance/client."""
    return project.pack(tmp_path_factory.mktemp("package"))


@pytest.fixture
def empty_project(packed: Path, tmp_path: Path) -> Path:
    """A project that has installed nothing but the package."""
    project.install(packed, tmp_path)
    return tmp_path
