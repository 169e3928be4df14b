"""The page as its reader sees it: no old figure looks live, rows hold still, and every amount is readable."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, ViewportSize, expect

from livebalance.stack.cluster import Cluster
from livebalance.wire.timestamp import parse_rfc3339
from tests.acceptance.page.account_page import AccountPage
from tests.acceptance.page.conftest import OpenPage
from tests.acceptance.page.inspection import (
    COLOUR,
    CUT_AMOUNTS,
    FLASH,
    HEIGHT,
    HOLD_ANIMATIONS,
    ROW_ID,
    TOP,
    first_of,
    record_frames,
    violations,
)
from tests.acceptance.page.written_records import balance, transfer, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATEWAY_ENVIRONMENT: dict[str, str] = {}  # heartbeats every 10 s, as in production
BUSY = "acc-0001"  # an account of the feed
OLD, LARGE, MEDIUM, DRIFTING, CONTRADICTED, QUIET = (
    "old",
    "large",
    "medium",
    "drifting",
    "contradicted",
    "quiet",
)
SMALL_PHONE = ViewportSize(width=320, height=640)
OUTAGE_TIMEOUT = 60_000.0  # ms in which the page notices an outage, or its end

LIVE = "[data-testid=connection][data-state=live]"
SHORTEST_ROW = 40  # pixels
NEWEST = "[data-testid=transfer] >> nth=0"


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def accounts(cluster: Cluster) -> AsyncIterator[None]:
    """Accounts that the feed would not write."""
    largest = 2**63 - 1
    await write(
        cluster,
        [
            transfer(OLD, "o-1", 1050, parse_rfc3339("2026-03-02T10:30:00.000Z")),
            balance(LARGE, 0, "", -largest),
            transfer(LARGE, "a-transfer-with-a-long-name-1", largest),
            transfer(LARGE, "l-2", -largest),
            transfer(MEDIUM, "m-1", -1_391_892),
            transfer(DRIFTING, "d-1", 1000),
            balance(CONTRADICTED, 0, "", 0),
            transfer(CONTRADICTED, "c-1", 1000),
            transfer(CONTRADICTED, "c-1", 1001),
            transfer(QUIET, "q-1", 10_000),
        ],
    )
    yield


async def show(page: AccountPage, cluster: Cluster, account: str) -> Page:
    """Shows an account and returns the tab once the page is live and shows a transfer."""
    await page.tab.goto(f"{cluster.page}/accounts/{account}")
    await page.wait_until_live()
    await page.tab.wait_for_selector("[data-testid=transfer]")
    return page.tab


@asynccontextmanager
async def without_gateways(cluster: Cluster) -> AsyncIterator[None]:
    """Kills all gateways, and starts them again at the end of the block."""
    names = [name for name in cluster.supervisors if name.startswith("gateway")]
    for name in names:
        cluster.supervisors[name].kill(restart=False)
    try:
        yield
    finally:
        for name in names:
            cluster.supervisors[name].start()
        async with asyncio.timeout(60), httpx.AsyncClient(base_url=cluster.page, timeout=60) as http:
            while (await http.get("/api/v1/accounts")).status_code != HTTPStatus.UNAUTHORIZED:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


# --- freshness


async def test_page_without_gateways_dates_and_dims_its_figures_until_they_return(
    cluster: Cluster, open_page: OpenPage
) -> None:
    """The longest test here: an outage counts as long only after 25 s."""
    async with open_page(cluster.page) as page, open_page("about:blank") as overview:
        await show(page, cluster, QUIET)
        await overview.tab.goto(cluster.page)  # once the account can be listed
        await overview.tab.wait_for_selector(f"li:not(.stale) > [data-account={QUIET}]")
        card = overview.tab.locator(f"[data-account={QUIET}] lb-amount")
        figure = page.tab.locator("[data-testid=balance] lb-amount")
        live = [await shown.evaluate(COLOUR) for shown in (card, figure)]
        connections = record_frames(page.tab)
        async with without_gateways(cluster):
            delayed = re.compile(r"Delayed, last confirmed (2[6-9]|[3-9]\d) s ago")
            await expect(overview.tab.locator("main")).to_contain_text(delayed, timeout=OUTAGE_TIMEOUT)
            dimmed = [await shown.evaluate(COLOUR) for shown in (card, figure)]
            assert all(before != after for before, after in zip(live, dimmed, strict=True))
            assert "€" not in await page.tab.title()
            for tab in (overview.tab, page.tab):
                assert await violations(tab) == []

        await expect(overview.tab.locator("main")).not_to_contain_text("Delayed", timeout=OUTAGE_TIMEOUT)
        await page.tab.wait_for_selector(LIVE, timeout=OUTAGE_TIMEOUT)
        for shown, colour in zip((card, figure), live, strict=True):
            await expect(shown).to_have_css("color", colour)  # each page connects again by itself
        # The page waits for no regular heartbeat until its figures are confirmed.
        frames = connections[-1]
        welcome, confirmation = (first_of(type_, frames) for type_ in ("welcome", "heartbeat"))
        waited = parse_rfc3339(confirmation["server_time"]) - parse_rfc3339(welcome["server_time"])
        assert waited < welcome["heartbeat_ms"]


# --- the list holds still


async def test_rows_hold_still_under_the_reader_until_new_rows_are_asked_for(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(f"{cluster.page}/accounts/{BUSY}") as page:
        await page.wait_until_live()
        await page.wait_for_revision(120)
        await page.tab.reload()
        await page.wait_until_live()
        row = page.tab.locator("[data-testid=transfer]").nth(30)
        read = page.tab.locator(f"[data-id='{await row.evaluate(ROW_ID)}']")
        await read.evaluate("element => element.scrollIntoView({block: 'center'})")
        await page.tab.wait_for_selector("[data-held-at]")  # a frame later: until then the list goes on
        before, newest = await read.evaluate(TOP), await page.tab.locator(NEWEST).evaluate(ROW_ID)
        positions = [before]
        for _ in range(4):
            await page.wait_for_revision((await page.content()).revision + 10)
            positions.append(await read.evaluate(TOP))
        assert max(abs(position - before) for position in positions) <= 1
        assert await page.tab.locator(NEWEST).evaluate(ROW_ID) == newest

        new = page.tab.get_by_role("button", name=re.compile(r"^\d+ new"))
        await new.focus()
        await page.tab.keyboard.press("Enter")
        await expect(new).to_have_count(0)
        assert await page.tab.locator(NEWEST).evaluate(ROW_ID) != newest
        await expect(page.tab.get_by_role("heading", name="Transfers")).to_be_focused()
        await expect(page.tab.locator(NEWEST)).to_be_in_viewport()
        assert await page.tab.locator(NEWEST).evaluate(HEIGHT) > SHORTEST_ROW


async def test_back_restores_the_loaded_rows_and_the_place(cluster: Cluster, open_page: OpenPage) -> None:
    await write(cluster, [transfer("long", f"n-{number}", 100) for number in range(260)])
    async with open_page(f"{cluster.page}/accounts/long") as page:
        await page.tab.wait_for_selector("[data-id=n-259]")
        await page.scroll_to_end()
        read = await page.scroll_to_row("n-90")
        before = await read.evaluate(TOP)
        await page.tab.evaluate("document.querySelector('.brand').click()")
        await page.tab.wait_for_selector(f"[data-account={BUSY}]")
        await write(cluster, [transfer("long", f"later-{number}", 100) for number in range(5)])
        await page.tab.go_back()
        new = page.tab.get_by_role("button", name="5 new")
        await expect(new).to_be_visible()
        assert abs(await read.evaluate(TOP) - before) <= 1
        count = page.tab.locator("[data-testid=count]")
        await expect(count).to_have_text("all 260")
        await new.click()
        await expect(count).to_have_text("all 265")
        await page.tab.go_forward()
        await page.tab.go_back()
        await expect(count).to_have_text("all 265")


async def test_focus_after_a_choice_by_keyboard_is_on_the_account(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        await page.tab.fill("[data-testid=account-input]", BUSY)
        await page.tab.keyboard.press("Enter")
        await page.wait_until_live()
        await expect(page.tab.locator("[data-testid=account]")).to_be_focused()
        await page.tab.go_back()
        card = page.tab.locator(f"[data-account={BUSY}]")
        await expect(card).to_be_focused()
        await page.tab.keyboard.press("Enter")
        await page.wait_until_live()
        await page.tab.get_by_role("button", name="Show older transfers").focus()
        await page.tab.keyboard.press("Enter")
        # The button goes with the last of the older transfers.
        await page.tab.wait_for_function(
            "() => ['older', 'end'].includes(document.activeElement.dataset.testid)"
            " && document.querySelectorAll('[data-testid=transfer]').length > 50"
        )


# --- what the figures say


async def test_transfer_of_another_day_shows_its_date_in_the_readers_time_zone(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page, timezone_id="Pacific/Auckland") as page:
        await show(page, cluster, OLD)
        assert await page.tab.inner_text(f"{NEWEST} >> time") == "23:30:00"
        assert await page.tab.inner_text("[data-testid=date]") == "2 Mar 2026"
        await show(page, cluster, QUIET)
        assert re.fullmatch(r"\d\d:\d\d:\d\d", await page.tab.inner_text(f"{NEWEST} >> time"))


async def test_balance_after_a_debit_does_not_flash_in_the_colour_of_a_credit(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page, reduced_motion="no-preference") as page:
        await show(page, cluster, QUIET)
        await page.tab.evaluate(HOLD_ANIMATIONS)
        for id_, unscaled, is_green in (("q-debit", -100, False), ("q-credit", 100, True)):
            before = await page.tab.get_attribute("[data-testid=balance]", "data-amount")
            await write(cluster, [transfer(QUIET, id_, unscaled)])
            await expect(page.tab.locator("[data-testid=balance]")).not_to_have_attribute(
                "data-amount", before or ""
            )
            flash = await page.tab.evaluate(FLASH)
            assert flash["count"] == 1
            assert (flash["shown"] in flash["greens"]) is is_green
            assert await violations(page.tab, runOnly=["color-contrast"]) == []


async def test_negative_amount_has_a_minus_apart_from_its_currency(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        await show(page, cluster, LARGE)
        amount = await page.tab.inner_text(f"{NEWEST} >> .amount")
        assert amount == "↓\u00a0\u2212\u202f€92,233,720,368,547,758.07"


async def test_disputed_account_says_that_it_does_not_add_up(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, DRIFTING)
        await expect(tab.locator("[data-testid=check]")).to_have_text("Reconciled")
        await write(cluster, [balance(DRIFTING, 2, "d-1", 1500)])
        await expect(tab.locator("[data-testid=check]")).to_contain_text("Disputed")
        assert "+\u202f€5.00" in await tab.inner_text("[data-testid=check]")
        tab = await show(page, cluster, CONTRADICTED)
        await expect(tab.locator("[data-testid=disputed]")).to_be_visible()
        assert (await tab.inner_text("[data-testid=check]")).startswith("Disputed")
        assert "Reconciled" not in await tab.inner_text("[data-testid=check]")
        assert await violations(tab) == []
        await tab.goto(cluster.page)
        await expect(tab.locator(f"[data-account={DRIFTING}]")).to_contain_text("Disputed")


async def test_account_that_does_not_exist_does_not_look_like_a_new_account(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(f"{cluster.page}/accounts/nobody") as page:
        await page.wait_until_live()
        await expect(page.tab.locator("main")).to_contain_text("There is no account “nobody”")
        assert "No balance yet" not in await page.tab.inner_text("main")
        assert await page.tab.locator("[data-testid=transfers]").count() == 0
        assert await violations(page.tab) == []
        await page.tab.goto(f"{cluster.page}/accounts/not%20valid")
        await page.tab.wait_for_selector("main [role=alert]")
        assert await violations(page.tab) == []


async def test_large_amounts_on_a_small_phone_are_neither_cut_nor_overlap(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page, viewport=SMALL_PHONE) as page:
        await page.tab.wait_for_selector(f"[data-account={LARGE}]")
        for path in ("/", *(f"/accounts/{account}" for account in (LARGE, MEDIUM, BUSY))):
            await page.tab.goto(cluster.page + path)
            await page.tab.wait_for_selector("lb-amount")
            assert await page.tab.evaluate(CUT_AMOUNTS) == [], path
            overflow = await page.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert overflow <= 0, path
