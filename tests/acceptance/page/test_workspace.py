"""The overview as a workspace: many accounts live, their totals, the address, keys, themes and sizes."""

import asyncio
import re
from collections.abc import AsyncIterator
from decimal import Decimal

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, ViewportSize, expect

from livebalance.stack.cluster import Cluster
from tests.acceptance.page.conftest import OpenPage
from tests.acceptance.page.inspection import CUT_AMOUNTS, keep_picture, violations
from tests.acceptance.page.workspace import (
    LIVE_REGIONS,
    RECORD_ANNOUNCEMENTS,
    address,
    rows,
    sum_in_postgres,
    totals,
    wait_for_states,
)
from tests.acceptance.page.written_records import balance, transfer, write
from tests.integration.projector.pipeline import kafka_producer
from tests.tokens import claims, sign

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = [f"w-{number:03}" for number in range(500)]
FEED = [f"acc-{number:04}" for number in range(1, 5)]
DISPUTED, ERASED, FORBIDDEN, UNKNOWN = "w-disputed", "w-erased", "other", "w-unknown"
FIRST_PAINT_BYTES = 90_000
ACCOUNTS_PER_SOCKET = 128


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def accounts(cluster: Cluster) -> AsyncIterator[None]:
    """Accounts with one transfer each, and an account that contradicts itself."""
    await write(
        cluster,
        [
            *(transfer(account, f"{account}-1", 100 + number) for number, account in enumerate(MANY)),
            balance(DISPUTED, 0, "", 0),
            transfer(DISPUTED, "d-1", 1000),
            transfer(DISPUTED, "d-1", 1001),
            transfer(ERASED, "e-1", 500),
            transfer(FORBIDDEN, "o-1", 700),
        ],
    )
    yield


async def erase(cluster: Cluster, account: str) -> None:
    """Writes the null that erases an account."""
    async with kafka_producer(cluster.kafka) as producer:
        await producer.send_and_wait(cluster.plan.topics.balances, None, account.encode())


# --- the watchlist


async def test_watchlist_in_the_address_is_live_and_its_total_equals_sql(
    cluster: Cluster, open_page: OpenPage
) -> None:
    watched = MANY[:5]
    async with open_page(address(cluster.page, watched)) as page:
        await wait_for_states(page.tab, "live", len(watched))
        await expect_total(page.tab, cluster, watched)
        before = await sum_in_postgres(cluster, watched)
        await write(cluster, [transfer(watched[0], "one-more", 12_345)])
        shown = page.tab.locator(f"[data-testid=total][data-amount='{before + Decimal('123.45')}']")
        await expect(shown).to_have_attribute("data-live", "true")
        row = page.tab.locator(f"[data-watched={watched[0]}]")
        await expect(row.locator("[data-testid=change]")).to_contain_text("↑")
        await expect(row.locator("[data-testid=change]")).to_contain_text("€123.45")
        await page.tab.reload()
        await wait_for_states(page.tab, "live", len(watched))
        assert list(await rows(page.tab)) == watched


async def test_five_hundred_accounts_share_few_sockets_and_each_bad_account_says_why(
    cluster: Cluster, open_page: OpenPage
) -> None:
    special = [DISPUTED, ERASED, FORBIDDEN, UNKNOWN]
    token = sign(claims(accounts=["w-*"]), cluster.demo_secret)
    sockets: list[str] = []
    gateway = cluster.gateways[0]  # it sends no demo token, so the page sends the cookie
    async with open_page(f"{gateway}/accounts/{UNKNOWN}", token=token) as page:
        await page.wait_until_live()
        page.tab.on("websocket", lambda socket: sockets.append(socket.url))
        await page.tab.goto(address(gateway, [*special, *MANY]))
        await wait_for_states(page.tab, "live", len(MANY) + 3)
        assert len(sockets) == -(-(len(MANY) + len(special)) // ACCOUNTS_PER_SOCKET)
        for account, text in (
            (FORBIDDEN, "You have no access to this account"),
            (UNKNOWN, "There is no such account"),
            (DISPUTED, "Disputed"),
        ):
            row = page.tab.locator(f"[data-watched={account}]")
            await expect(row).to_contain_text(text)
        shown = await rows(page.tab)
        assert (shown[FORBIDDEN].amount, shown[UNKNOWN].amount) == (None, None)
        included = [*MANY, DISPUTED, ERASED]
        await expect_total(page.tab, cluster, included, live=False)  # two accounts are missing in it
        total = page.tab.locator("[data-testid=total]")
        await expect(total).to_contain_text("without 2 accounts")
        await expect(total).to_contain_text("1 balance is disputed")

        await erase(cluster, ERASED)
        erased = page.tab.locator(f"[data-watched={ERASED}]")
        await expect(erased).to_contain_text("This account was erased")
        assert (await rows(page.tab))[ERASED].amount is None
        await expect(total).to_contain_text("without 3 accounts")
        await expect_total(page.tab, cluster, included, live=False)


async def test_address_with_junk_and_two_hundred_accounts_shows_the_accounts(
    cluster: Cluster, open_page: OpenPage
) -> None:
    junk = ["<script>alert(1)</script>", "%00", "%zz", "100%", "a" * 65, "../..", "ä", MANY[0], ""]
    async with open_page(address(cluster.page, [*MANY[:200], *junk])) as page:
        await wait_for_states(page.tab, "live", 200)
        assert list(await rows(page.tab)) == MANY[:200]
        await expect(page.tab.locator("[data-testid=ignored]")).to_have_text(
            re.compile(r"^[1-9]\d* entries of")
        )
        # A user edits the address of the open page.
        await page.tab.goto(address(cluster.page, MANY[300:302]))
        await wait_for_states(page.tab, "live", 2)
        assert list(await rows(page.tab)) == MANY[300:302]


async def test_watchlist_whose_gateway_is_killed_is_not_live_until_it_resumes(
    cluster: Cluster, open_page: OpenPage
) -> None:
    watched = [*MANY[:10], *FEED]
    async with open_page(address(cluster.page, watched)) as page:
        await wait_for_states(page.tab, "live", len(watched))
        names = [name for name in cluster.supervisors if name.startswith("gateway")]
        for name in names:
            cluster.supervisors[name].kill(restart=False)
        try:
            # No total of an instant may look live while a balance in it does not.
            await wait_for_states(page.tab, "live", 0)
            [total] = await totals(page.tab)
            assert not total.live
            assert f"{len(watched)} balances are not live" in total.text
        finally:
            for name in names:
                cluster.supervisors[name].start()
        await wait_for_states(page.tab, "live", len(watched))
        feed = cluster.supervisors["feed-1"]
        await feed.stop()
        try:
            await expect_total(page.tab, cluster, watched)
        finally:
            feed.start()


async def test_watchlist_without_postgres_says_delayed_and_recovers(
    cluster: Cluster, open_page: OpenPage
) -> None:
    watched = MANY[:3]
    async with open_page(address(cluster.page, watched)) as page:
        await wait_for_states(page.tab, "live", len(watched))
        cluster.supervisors["postgres"].kill(restart=False)
        try:
            await wait_for_states(page.tab, "live", 0)
            await expect(page.tab.locator("[data-testid=freshness]")).to_contain_text("Delayed")
            [total] = await totals(page.tab)
            assert not total.live
        finally:
            cluster.supervisors["postgres"].start()
        await wait_for_states(page.tab, "live", len(watched))
        await expect_total(page.tab, cluster, watched)


async def expect_total(tab: Page, cluster: Cluster, watched: list[str], *, live: bool = True) -> None:
    """Waits until the page shows a total that equals the sum in Postgres, and is live or not."""
    async with asyncio.timeout(60):
        while True:
            expected = await sum_in_postgres(cluster, watched)
            if [(Decimal(total.amount), total.live) for total in await totals(tab)] == [(expected, live)]:
                return
            await asyncio.sleep(0.1)


# --- keyboard, screen reader, sizes and themes


async def test_watchlist_is_kept_by_keyboard_alone(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(cluster.page) as page:
        tab, press = page.tab, page.tab.keyboard.press
        await tab.wait_for_selector(f"[data-account={FEED[0]}]")
        await press("/")
        await expect(tab.locator("[data-testid=account-input]")).to_be_focused()
        await tab.keyboard.type(" ".join(MANY[:3]))
        await press("Tab")
        await press("Enter")
        await wait_for_states(tab, "live", 3)
        await expect(tab).to_have_url(address(cluster.page, MANY[:3]))
        links = tab.locator("[data-watched] a")
        await links.first.focus()
        await press("ArrowDown")
        await expect(links.nth(1)).to_be_focused()
        await press("Delete")
        await expect(tab.locator(f"[data-watched={MANY[1]}]")).to_have_count(0)
        await expect(links.nth(1)).to_be_focused()
        await expect(tab).to_have_url(address(cluster.page, [MANY[0], MANY[2]]))
        await press("Home")
        await press("Enter")
        await page.wait_until_live()
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{MANY[0]}")
        await tab.locator(".brand").focus()
        await press("Enter")
        await wait_for_states(tab, "live", 2)

        await press("?")
        dialog = tab.get_by_role("dialog")
        await expect(dialog).to_contain_text("Stop watching the account")
        assert await violations(tab) == []
        await dialog.get_by_role("checkbox").uncheck()
        await press("Escape")
        await expect(dialog).to_have_count(0)
        await press("?")
        await press("/")
        await expect(dialog).to_have_count(0)
        await expect(tab.locator("[data-testid=account-input]")).not_to_be_focused()


async def test_search_suggests_recent_accounts_first_and_no_amount(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        tab = page.tab
        await tab.fill("[data-testid=account-input]", MANY[7])
        await tab.keyboard.press("Enter")
        await page.wait_until_live()
        await tab.goto(cluster.page)
        await tab.focus("[data-testid=account-input]")
        first = tab.locator("[role=option]").first
        await expect(first).to_have_text(re.compile(rf"^\s*{MANY[7]}\s*Recent\s*$"))
        await expect(tab.locator("[role=option]")).to_have_count(8)
        assert await tab.locator("[role=option] lb-amount").count() == 0
        await tab.keyboard.press("ArrowDown")
        await tab.keyboard.press("Enter")
        await page.wait_until_live()
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{MANY[7]}")


async def test_screen_reader_hears_few_sentences_of_a_busy_watchlist(
    cluster: Cluster, open_page: OpenPage
) -> None:
    watched = [*FEED, DISPUTED]
    async with open_page(cluster.page) as page:
        tab = page.tab
        await tab.wait_for_selector(f"[data-account={FEED[0]}]")
        assert await tab.locator(LIVE_REGIONS).count() == 1
        await tab.evaluate(RECORD_ANNOUNCEMENTS)
        await tab.goto(address(cluster.page, watched))
        await expect(tab.locator("[role=status]")).to_contain_text(
            "All 5 watched accounts are live. Disputed: 1."
        )
        await write(cluster, [transfer(FEED[0], f"busy-{number}", 1) for number in range(200)])
        await tab.locator("[data-watched] a").first.focus()
        await tab.keyboard.press("t")
        total = re.compile(r"Total .*€[\d,.]+")
        await expect(tab.locator("[role=status]")).to_contain_text(total)
        sentences = [sentence for _, sentence in await tab.evaluate("window.announcements")]
        assert len(sentences) <= 20  # for 200 transfers, and as many balances
        assert [sentence for sentence in sentences if "€" in sentence] == [
            sentence for sentence in sentences if total.search(sentence)
        ]
        await tab.goto(f"{cluster.page}/accounts/{FEED[0]}")
        await page.wait_until_live()
        assert await tab.locator(LIVE_REGIONS).count() == 1


@pytest.mark.parametrize(
    ("size", "scale", "scheme"),
    [
        (ViewportSize(width=320, height=640), 2, "light"),
        (ViewportSize(width=390, height=844), 2, "dark"),
        (ViewportSize(width=640, height=450), 2, "light"),  # 200 % zoom of 1280 by 900
        (ViewportSize(width=1280, height=900), 1, "dark"),
    ],
    ids=["320-light", "phone-dark", "zoom-light", "desktop-dark"],
)
async def test_workspace_in_each_size_and_theme_is_accessible_and_cuts_nothing(
    cluster: Cluster, open_page: OpenPage, size: ViewportSize, scale: int, scheme: str
) -> None:
    large = "w-large"
    await write(cluster, [balance(large, 0, "", -(2**63 - 1))])
    watched = [*MANY[:3], DISPUTED, large, "nobody", *FEED]
    async with open_page(
        address(cluster.page, watched), viewport=size, device_scale_factor=scale, color_scheme=scheme
    ) as page:
        await wait_for_states(page.tab, "live", len(watched))
        await keep_picture(page.tab, f"workspace-{size['width']}-{scheme}")
        assert await violations(page.tab) == []
        assert await page.tab.evaluate(CUT_AMOUNTS) == []
        overflow = await page.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0


GROUND = "() => getComputedStyle(document.documentElement).backgroundColor"


async def test_chosen_theme_is_kept_and_painted_first(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(cluster.page, color_scheme="light") as page:
        tab = page.tab
        light = await tab.evaluate(GROUND)
        await tab.select_option("[data-testid=theme]", "dark")
        dark = await tab.evaluate(GROUND)
        assert dark != light
        # The page's own scripts never arrive: the theme must not need them.
        await tab.route(re.compile(r"/(main|chunk)-"), lambda _: None)
        await tab.reload(wait_until="commit")
        await tab.wait_for_function("() => document.styleSheets.length > 0")
        assert await tab.evaluate(GROUND) == dark
        await tab.unroute(re.compile(r"/(main|chunk)-"))
        await tab.reload()
        await expect(tab.locator("[data-testid=theme]")).to_have_value("dark")
        assert await tab.evaluate(GROUND) == dark
        await tab.select_option("[data-testid=theme]", "system")
        assert await tab.evaluate(GROUND) == light


# --- what the browser loads and allows


async def test_first_paint_needs_few_compressed_bytes(cluster: Cluster) -> None:
    """All that index.html names, as a browser receives it."""
    async with httpx.AsyncClient(base_url=cluster.page, timeout=60) as http:
        index = (await http.get("/", headers={"accept": "text/html"})).text
        names = re.findall(r'(?:src|href)="(/[^"]+)"', index)
        assert any(name.endswith(".js") for name in names)
        sizes = {}
        for name in ["/", *names]:
            headers = {"accept": "*/*, text/html", "accept-encoding": "gzip, deflate, br, zstd"}
            async with http.stream("GET", name, headers=headers) as response:
                assert response.status_code == 200
                assert response.headers["content-encoding"] == "br", name
                sizes[name] = sum([len(part) async for part in response.aiter_raw()])
        assert sum(sizes.values()) <= FIRST_PAINT_BYTES, sizes


async def test_hashed_files_are_cached_for_ever_and_others_are_checked(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.page, timeout=60) as http:
        index = await http.get("/", headers={"accept": "text/html"})
        assert index.headers["cache-control"] == "no-cache"
        for name in re.findall(r'(?:src|href)="(/[^"]+)"', index.text):
            cached = "immutable" in (await http.get(name)).headers["cache-control"]
            assert cached == (name not in ("/theme.js", "/favicon.svg")), name


async def test_text_that_becomes_markup_without_a_trusted_type_is_blocked(
    cluster: Cluster, open_page: OpenPage, browser_errors: list[str]
) -> None:
    for url in (cluster.page, cluster.gateways[0]):
        async with open_page(url) as page:
            await page.tab.wait_for_selector("h1")
            blocked = await page.tab.evaluate(
                """() => {
                  try { document.createElement('p').innerHTML = '<b></b>'; return 'allowed'; }
                  catch (error) { return error.name; }
                }"""
            )
            assert blocked == "TypeError"
    assert any("TrustedHTML" in error for error in browser_errors)
    browser_errors.clear()
