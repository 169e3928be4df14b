"""Fixtures: the packed TypeScript client, a project that has installed it, and a browser."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

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


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()
