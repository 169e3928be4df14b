"""The whole of Livebalance, and a Chromium in front of it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urljoin

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from tests.acceptance.page.view import View

OpenView = Callable[..., AbstractAsyncContextManager[View]]

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# What a browser says of a server that was killed is no fault of the page.
_EXPECTED = ("WebSocket connection to", "Failed to load resource")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(paths: StatePaths) -> AsyncIterator[Cluster]:
    """Everything at 20 transfers a second; short heartbeats, and a resume that soon needs a snapshot."""
    plan = ClusterPlan(
        accounts=4,
        rate=20,
        seed=11,
        port=free_port(),
        durable=False,
        environment={
            "gateway": {
                "LIVEBALANCE_HEARTBEAT_INTERVAL_SECONDS": "1",
                "LIVEBALANCE_RECOVERY_MAX_REVISIONS": "100",
            }
        },
    )
    async with Cluster(StatePaths(paths.home, paths.state / "page"), plan) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complained about (scripts, styles, the policy): nothing, at the end of a test."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def open_view(browser: Browser, complaints: list[str]) -> OpenView:
    """`async with open_view(url, color_scheme="dark") as view`: a tab of its own; `signed_in` by this token.

    Nothing moves for the eye's sake unless `reduced_motion="no-preference"`: without a GPU that costs a core.
    """

    @asynccontextmanager
    async def open_(url: str, signed_in: str | None = None, **context: Any) -> AsyncIterator[View]:
        look = {"locale": "en-GB", "timezone_id": "UTC", "reduced_motion": "reduce", **context}
        own = await browser.new_context(**look)
        if signed_in:
            await own.add_cookies([{"name": "livebalance", "value": signed_in, "url": urljoin(url, "/")}])
        tab = await own.new_page()
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on(
            "console",
            lambda line: (
                complaints.append(line.text)
                if line.type in ("error", "warning") and not line.text.startswith(_EXPECTED)
                else None
            ),
        )
        await tab.goto(url)
        yield View(tab)
        await own.close()

    return open_
