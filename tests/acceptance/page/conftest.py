"""Fixtures: all of Livebalance, and a Chromium that opens its page."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.plan import ClusterPlan
from tests.acceptance.page.account_page import LIVE_TIMEOUT, AccountPage

OpenPage = Callable[..., AbstractAsyncContextManager[AccountPage]]

# Short heartbeats, and snapshots after few missed revisions. A module can have its own GATEWAY_ENVIRONMENT.
# A page counts its connection as lost after 2.5 heartbeats: a busy machine must not lose one.
_GATEWAY_ENVIRONMENT = {
    "LIVEBALANCE_HEARTBEAT_INTERVAL_SECONDS": "4",
    "LIVEBALANCE_RECOVERY_MAX_REVISIONS": "100",
}
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# Console messages of the browser about a killed server. They are no faults of the page.
_EXPECTED_MESSAGES = ("WebSocket connection to", "Failed to load resource")
# The browser reports most violations in its console, too, but not those of every directive.
_REPORT_VIOLATIONS = """addEventListener('securitypolicyviolation', ({violatedDirective, blockedURI}) => {
  console.error(`violation of the content security policy: ${violatedDirective} ${blockedURI}`);
})"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(paths: StatePaths, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A cluster with 20 transfers per second."""
    plan = ClusterPlan(
        accounts=4,
        rate=20,
        seed=11,
        port=free_port(),
        durable=False,
        control=True,
        environment={"gateway": getattr(request.module, "GATEWAY_ENVIRONMENT", _GATEWAY_ENVIRONMENT)},
    )
    async with Cluster(
        StatePaths(paths.home, paths.state / request.module.__name__.rpartition(".")[2]), plan
    ) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    expect.set_options(timeout=LIVE_TIMEOUT)  # a busy machine can take longer than Playwright's 5 s
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
def browser_errors() -> Iterator[list[str]]:
    """Errors and warnings in the browser's console, and requests to other origins.

    Violations of the content security policy are errors. A test fails if it leaves any.
    """
    errors: list[str] = []
    yield errors
    assert errors == []


@pytest.fixture
def open_page(browser: Browser, browser_errors: list[str]) -> OpenPage:
    """Opens a URL in a new browser context.

    Options are those of Playwright, as in `async with open_page(url, color_scheme="dark") as page`.
    `token` is sent as the cookie of a signed-in user. Animations are off unless
    `reduced_motion="no-preference"`: without a GPU they take a whole core.
    """

    @asynccontextmanager
    async def open_(url: str, token: str | None = None, **options: Any) -> AsyncIterator[AccountPage]:
        defaults = {"locale": "en-GB", "timezone_id": "UTC", "reduced_motion": "reduce"}
        context = await browser.new_context(**{**defaults, **options})
        context.set_default_timeout(LIVE_TIMEOUT)
        if token:
            await context.add_cookies([{"name": "livebalance", "value": token, "url": urljoin(url, "/")}])
        await context.add_init_script(_REPORT_VIOLATIONS)
        tab = await context.new_page()
        origins = {urlsplit(url).netloc}
        tab.on(
            "framenavigated",
            lambda frame: origins.add(urlsplit(frame.url).netloc) if frame == tab.main_frame else None,
        )
        tab.on(
            "request",
            lambda request: (
                None
                if request.is_navigation_request() or urlsplit(request.url).netloc in origins
                else browser_errors.append(f"request to another origin: {request.url}")
            ),
        )
        tab.on("pageerror", lambda error: browser_errors.append(str(error)))
        tab.on(
            "console",
            lambda message: (
                browser_errors.append(message.text)
                if message.type in ("error", "warning") and not message.text.startswith(_EXPECTED_MESSAGES)
                else None
            ),
        )
        page = AccountPage(tab)
        await tab.goto(url)
        yield page
        await context.close()

    return open_
