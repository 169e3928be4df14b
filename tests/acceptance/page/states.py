"""Every state that the page of an account can be in, each brought about for real, on several screens.

A test asserts what the screens show, and `python -m scripts.page_pictures` takes their pictures.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import urljoin

from playwright.async_api import Browser, BrowserContext, ViewportSize, expect

from livebalance.stack.cluster import Cluster, service_kind
from livebalance.stack.plan import ClusterPlan
from tests.acceptance.page.account_page import LIVE_TIMEOUT, AccountPage
from tests.acceptance.page.written_records import balance, transfer, write
from tests.integration.cli.command_line import run_command
from tests.tokens import claims, sign

ACCOUNT = "acc-0001"
# A projector that is never up to date: it publishes only progress, as during a real backlog.
_ALWAYS_BEHIND = {"LIVEBALANCE_CATCH_UP_THRESHOLD_SECONDS": "0.001"}
# The page notices an outage soon, and a machine that is busy for some seconds is no outage.
ENVIRONMENT = {
    "gateway": {
        "LIVEBALANCE_HEARTBEAT_INTERVAL_SECONDS": "4",
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "1",
        "LIVEBALANCE_POSTGRES_TIMEOUT_SECONDS": "2",
    },
    "projector": {"LIVEBALANCE_SESSION_TIMEOUT_MS": "2000"},
}


class Screen(NamedTuple):
    """The size of a window, and its colours."""

    name: str
    size: ViewportSize
    scheme: Literal["light", "dark"]


class Shown(NamedTuple):
    """What each screen shows in a state.

    `pill` is the state of the connection, `text` a part of the page, and `figures` says whether amounts are
    shown as live, dimmed, or not at all.
    """

    pill: str
    text: str
    figures: Literal["live", "dimmed", "none"]


@dataclass(frozen=True)
class Stage:
    """A running cluster, and the screens on which its page is opened."""

    cluster: Cluster
    browser: Browser
    screens: Sequence[Screen]

    @asynccontextmanager
    async def pages(
        self, account: str = ACCOUNT, token: str | None = None, *, live: bool = True
    ) -> AsyncIterator[list[AccountPage]]:
        """Opens the page of an account on each screen. A token is sent to a gateway as a cookie."""
        url = self.cluster.page if token is None else self.cluster.gateways[0]
        async with AsyncExitStack() as stack:
            pages = [
                await stack.enter_async_context(self._open(f"{url}/accounts/{account}", screen, token))
                for screen in self.screens
            ]
            if live:
                await asyncio.gather(*(page.wait_until_live() for page in pages))
            yield pages

    @asynccontextmanager
    async def _open(self, url: str, screen: Screen, token: str | None) -> AsyncIterator[AccountPage]:
        context = await self.browser.new_context(
            viewport=screen.size,
            color_scheme=screen.scheme,
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
        )
        try:
            page = AccountPage(await context.new_page())
            if token:
                await set_token(context, url, token)
            await page.tab.goto(url)
            yield page
        finally:
            await context.close()


async def set_token(context: BrowserContext, url: str, token: str) -> None:
    """Signs the user in with a cookie, as an identity provider would."""
    await context.add_cookies([{"name": "livebalance", "value": token, "url": urljoin(url, "/")}])


async def cut_socket(page: AccountPage) -> None:
    """Cuts the socket with the button of the trust panel, and closes the panel."""
    summary = page.tab.locator("[data-testid=trust] summary")
    await summary.click(timeout=LIVE_TIMEOUT)
    await page.tab.get_by_role("button", name="Cut my socket").click()
    await summary.click()


@asynccontextmanager
async def without(cluster: Cluster, kind: str) -> AsyncIterator[None]:
    """Kills all processes of a kind, and starts them again at the end of the block."""
    supervisors = [child for name, child in cluster.supervisors.items() if service_kind(name) == kind]
    for supervisor in supervisors:
        supervisor.kill(restart=False)
    try:
        yield
    finally:
        for supervisor in supervisors:
            supervisor.start()
        await until_ready(cluster)


async def until_ready(cluster: Cluster) -> None:
    """Waits until all services but the feed are ready."""
    async with asyncio.timeout(LIVE_TIMEOUT / 1000):
        for service in cluster.services.values():
            while service.kind != "feed" and not await service.is_ready():  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.1)


Pages = AsyncIterator[list[AccountPage]]


@asynccontextmanager
async def offline(stage: Stage) -> Pages:
    async with stage.pages() as pages:
        for page in pages:
            await page.tab.context.set_offline(True)
            await cut_socket(page)
        yield pages


@asynccontextmanager
async def expired(stage: Stage) -> Pages:
    secret, now = stage.cluster.demo_secret, int(time.time())
    async with stage.pages(token=sign(claims(), secret)) as pages:
        for page in pages:
            await set_token(page.tab.context, page.tab.url, sign(claims(iat=now - 120, exp=now - 60), secret))
            await cut_socket(page)
        yield pages


@asynccontextmanager
async def forbidden(stage: Stage) -> Pages:
    token = sign(claims(accounts=["acc-0002"]), stage.cluster.demo_secret)
    async with stage.pages(token=token, live=False) as pages:
        yield pages


@asynccontextmanager
async def unknown(stage: Stage) -> Pages:
    async with stage.pages("nobody") as pages:
        yield pages


@asynccontextmanager
async def erased(stage: Stage) -> Pages:
    account, cluster = f"erased-{secrets.token_hex(4)}", stage.cluster
    await write(cluster, [transfer(account, "e-1", 10_000)])
    async with stage.pages(account) as pages:
        for page in pages:
            await page.tab.wait_for_selector("[data-testid=transfer]", timeout=LIVE_TIMEOUT)
        topics = cluster.plan.topics
        result = await run_command(
            {
                "LIVEBALANCE_KAFKA": cluster.kafka,
                "LIVEBALANCE_POSTGRES": cluster.postgres("operator"),
                "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
                "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
                "LIVEBALANCE_LIFECYCLE_TOPIC": topics.lifecycle,
            },
            *("erase", account, "--reason", "the customer asked for it"),
        )
        assert result.code == 0, result
        yield pages


@asynccontextmanager
async def disputed(stage: Stage) -> Pages:
    account = f"disputed-{secrets.token_hex(4)}"
    records = [transfer(account, "d-1", 10_000), transfer(account, "d-1", 10_001)]
    await write(stage.cluster, [balance(account, 0, "", 0), *records])
    async with stage.pages(account) as pages:
        yield pages


@asynccontextmanager
async def gateways_killed(stage: Stage) -> Pages:
    async with stage.pages() as pages, without(stage.cluster, "gateway"):
        yield pages


@asynccontextmanager
async def gateways_stopped(stage: Stage) -> Pages:
    gateways = [service.child for service in stage.cluster.services.values() if service.kind == "gateway"]
    async with stage.pages() as pages:
        for gateway in gateways:
            gateway.send(signal.SIGSTOP)
        try:
            yield pages
        finally:
            for gateway in gateways:
                gateway.send(signal.SIGCONT)
            await until_ready(stage.cluster)


@asynccontextmanager
async def redis_away(stage: Stage) -> Pages:
    async with stage.pages() as pages, without(stage.cluster, "redis"):
        yield pages


@asynccontextmanager
async def postgres_away(stage: Stage) -> Pages:
    async with stage.pages() as pages, without(stage.cluster, "postgres"):
        yield pages


@asynccontextmanager
async def projectors_away(stage: Stage) -> Pages:
    async with stage.pages() as pages, without(stage.cluster, "projector"):
        yield pages


@asynccontextmanager
async def catching_up(stage: Stage) -> Pages:
    async with stage.pages() as pages, without(stage.cluster, "projector"):
        projector = stage.cluster.supervisors["projector-1"]
        projector.start(_ALWAYS_BEHIND)
        try:
            yield pages
        finally:
            projector.kill(restart=False)


@asynccontextmanager
async def recovered(stage: Stage) -> Pages:
    async with stage.pages() as pages:
        for page in pages:
            await page.tab.locator("[data-testid=trust] summary").click(timeout=LIVE_TIMEOUT)
        await pages[0].tab.get_by_role("button", name="Kill my gateway").click()
        for page in pages[1:]:
            await page.tab.get_by_role("button", name="Cut my socket").click()
        for page in pages:
            compared = page.tab.locator("[data-testid=timeline] [data-kind=compared]")
            await expect(compared.last).to_contain_text("Nothing missing", timeout=LIVE_TIMEOUT)
        yield pages
        await until_ready(stage.cluster)


Bring = Callable[[Stage], AbstractAsyncContextManager[list[AccountPage]]]

STATES: dict[str, tuple[Bring, Shown]] = {
    "offline": (offline, Shown("reconnecting", "Reconnecting", "dimmed")),
    "expired": (expired, Shown("reconnecting", "Reconnecting", "dimmed")),
    "forbidden": (
        forbidden,
        Shown("rejected", "You have no access to this account", "none"),
    ),
    "unknown": (unknown, Shown("live", "There is no account “nobody”", "none")),
    "erased": (erased, Shown("rejected", "This account was erased", "none")),
    "disputed": (disputed, Shown("live", "Disputed since", "live")),
    "gateway-killed": (
        gateways_killed,
        Shown("reconnecting", "Reconnecting", "dimmed"),
    ),
    "gateway-stopped": (
        gateways_stopped,
        Shown("reconnecting", "Reconnecting", "dimmed"),
    ),
    "redis-away": (
        redis_away,
        Shown("stalled", "Delayed: live updates are unavailable", "dimmed"),
    ),
    "postgres-away": (
        postgres_away,
        Shown("stalled", "Delayed: the database is unavailable", "dimmed"),
    ),
    "projectors-away": (
        projectors_away,
        Shown("stalled", "Delayed: nothing arrives", "dimmed"),
    ),
    "catching-up": (catching_up, Shown("catching-up", "Catching up", "dimmed")),
    "recovered": (recovered, Shown("live", "Nothing missing", "live")),
}


async def wait_until_shown(page: AccountPage, shown: Shown) -> None:
    """Waits until a screen shows a state."""
    pill = page.tab.locator(f"[data-testid=connection][data-state={shown.pill}]")
    await expect(pill).to_be_visible(timeout=LIVE_TIMEOUT)
    await expect(page.tab.locator("body")).to_contain_text(shown.text, timeout=LIVE_TIMEOUT)


def plan(port: int) -> ClusterPlan:
    """Returns the cluster of the states."""
    return ClusterPlan(
        accounts=4, rate=20, seed=11, port=port, durable=False, control=True, environment=ENVIRONMENT
    )
