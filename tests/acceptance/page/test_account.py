"""The page of an account: its chart, filters, download, and the drawer of a transfer."""

import asyncio
import csv
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.partitioner import murmur2
from playwright.async_api import Page, Route, ViewportSize, expect

from livebalance.stack.cluster import Cluster
from tests.acceptance.page.account_page import LIVE_TIMEOUT, AccountPage
from tests.acceptance.page.conftest import OpenPage
from tests.acceptance.page.inspection import COLOUR, CUT_AMOUNTS, TOP, violations
from tests.acceptance.page.written_records import balance, transfer, write
from tests.integration.projector.pipeline import kafka_producer

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATEWAY_ENVIRONMENT: dict[str, str] = {}
BUSY = "acc-0001"  # an account of the feed
EXACT, LARGE, LONG, ERASED, CHANGING = "exact", "large-amounts", "long", "to-erase", "changing"
AMOUNTS = [1250, -300, 99, -100_000, 300, 5, 250, -250]  # in cents
MANY = 100_000  # transfers of the long account
SMALL_PHONE = ViewportSize(width=320, height=640)
DESKTOP = ViewportSize(width=2000, height=1000)

DRAWER = "[data-testid=drawer]"
# Fields of the drawer, and the columns of its statement
FIELDS = {
    "drawer-id": "transfer_id",
    "drawer-revision": "revision",
    "topic": "topic",
    "partition": "partition",
    "offset": "source_offset",
}
IS_NOT_WIDER = "element => element.scrollWidth <= element.clientWidth"
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
HAS_ACCENT = """() => {
  const canvas = document.querySelector('[data-testid=chart] canvas');
  if (canvas === null) return false;
  const accent = getComputedStyle(document.querySelector('button[type=submit]')).backgroundColor;
  const [red, green, blue] = accent.match(/\\d+/g).map(Number);
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  for (let n = 0; n < data.length; n += 4)
    if (data[n] === red && data[n + 1] === green && data[n + 2] === blue && data[n + 3] === 255) return true;
  return false;
}"""
RECORD_DRAWINGS = """() => {
  const context = document.querySelector('[data-testid=chart] canvas').getContext('2d');
  const clear = context.clearRect.bind(context);
  drawings = [performance.now()];
  context.clearRect = (...area) => { drawings.push(performance.now()); clear(...area); };
}"""
ROWS_IN_DOCUMENT = "document.querySelectorAll('[data-testid=transfer]').length"


async def insert_long_account(cluster: Cluster) -> None:
    """Writes an account with many transfers as a projector would, before the projector knows the account."""
    connection = await asyncpg.connect(cluster.postgres())
    try:
        lane = (murmur2(LONG.encode()) & 0x7FFFFFFF) % cluster.plan.topics.partitions
        await connection.execute(
            """insert into balance (account_id, revision, lane, balance, scale, currency, version,
                    transfer_id, client_id, opening, opening_known, posted_total, transfer_count,
                    half_applied, drift, recorded_at)
               values ($1, $2::int8, $3, $2, 2, 'EUR', $2, 'n-' || $2, 'client', 0, true, $2, $2, 0, 0,
                    '2026-06-01Z')""",
            LONG,
            MANY,
            lane,
        )
        await connection.execute(
            """insert into transfer
               select $1, n, 'n-' || n, 1.00, n, t, t, 'transfers', $3, n
                 from generate_series(1, $2::int8) n, lateral (
                      select timestamptz '2026-06-01Z' - ($2 - n) * interval '1 minute') as times (t)""",
            LONG,
            MANY,
            lane,
        )
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def accounts(cluster: Cluster) -> AsyncIterator[None]:
    """Accounts that the feed would not write."""
    await insert_long_account(cluster)
    largest = 2**63 - 1
    records = [transfer(EXACT, f"e-{number}", unscaled) for number, unscaled in enumerate(AMOUNTS)]
    await write(
        cluster,
        [
            *records,
            balance(LARGE, 0, "", -largest),
            transfer(LARGE, "a-transfer-with-a-long-name-1", largest),
            transfer(LARGE, "l-2", -largest),
            transfer(ERASED, "x-1", 100),
            transfer(ERASED, "x-2", 200),
            transfer(CHANGING, "c-1", 100),
            transfer(CHANGING, "c-2", 200),
        ],
    )
    yield


async def show(page: AccountPage, cluster: Cluster, address: str) -> Page:
    """Shows an account and returns the tab once the page is live and shows a transfer."""
    await page.tab.goto(f"{cluster.page}/accounts/{address}")
    await page.wait_until_live()
    await page.tab.wait_for_selector("[data-testid=transfer]")
    return page.tab


async def wait_for_row(tab: Page, id_: str) -> None:
    await tab.wait_for_selector(f"[data-testid=transfer][data-id='{id_}']")


# --- the drawer


async def test_drawer_shows_what_its_sql_shows(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, EXACT)
        await wait_for_row(tab, f"e-{len(AMOUNTS) - 1}")
        await tab.get_by_role("button", name="e-3").click()
        await expect(tab.locator("[data-testid=recorded-at]")).to_be_visible()
        connection = await asyncpg.connect(cluster.postgres("analyst"))
        try:
            (row,) = await connection.fetch(await tab.inner_text("[data-testid=sql]"))
        finally:
            await connection.close()
        for field, column in FIELDS.items():
            assert await tab.inner_text(f"[data-testid={field}]") == str(row[column])
        for field, column in (
            ("drawer-amount", "amount"),
            ("before", "balance_before"),
            ("after", "balance_after"),
        ):
            shown = await tab.get_attribute(f"[data-testid={field}]", "data-amount")
            assert Decimal(shown or "") == row[column]
        for field in ("occurred", "recorded"):
            shown = await tab.get_attribute(f"[data-testid={field}-at]", "datetime")
            assert shown == row[f"{field}_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert await violations(tab) == []
        await tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        for name, copied in (
            ("Transfer id", "e-3"),
            ("Topic, partition and offset", f"{row['topic']}/{row['partition']}@{row['source_offset']}"),
        ):
            await tab.get_by_role("button", name=f"Copy: {name}").click()
            await expect(tab.locator(DRAWER)).to_contain_text("Copied")
            assert await tab.evaluate("navigator.clipboard.readText()") == copied


async def test_drawer_is_restored_by_its_address_and_closed_by_going_back(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, f"{EXACT}?direction=out")
        await tab.get_by_role("button", name="e-3").focus()
        await tab.keyboard.press("Enter")
        await expect(tab.locator(DRAWER)).to_be_visible()
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{EXACT}?direction=out&transfer=e-3")
        await tab.reload()
        await expect(tab.locator("[data-testid=drawer-id]")).to_have_text("e-3")
        await tab.keyboard.press("Escape")
        await expect(tab.locator(DRAWER)).to_have_count(0)
        await tab.go_back()
        await expect(tab.locator(DRAWER)).to_be_visible()
        await tab.go_back()
        await expect(tab.locator(DRAWER)).to_have_count(0)
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{EXACT}?direction=out")


async def test_drawer_that_is_closed_returns_the_focus_to_its_row(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, EXACT)
        await wait_for_row(tab, "e-3")
        row = tab.get_by_role("button", name="e-3")
        for close in (lambda: tab.keyboard.press("Escape"), tab.go_back):
            await row.focus()
            await tab.keyboard.press("Enter")
            await expect(tab.locator("#drawer-title")).to_be_focused()
            await close()
            await expect(tab.locator(DRAWER)).to_have_count(0)
            await expect(row).to_be_focused()


async def test_drawer_of_a_transfer_that_is_not_loaded_is_read(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(f"{cluster.page}/accounts/{LONG}?transfer=n-77") as page:
        after = page.tab.locator("[data-testid=after]")
        await expect(after).to_have_attribute("data-amount", "77")
        await page.tab.goto(f"{cluster.page}/accounts/{LONG}?transfer=none-such")
        await expect(page.tab.locator(DRAWER)).to_contain_text("has no transfer “none-such”")
        assert await violations(page.tab) == []


async def test_drawer_of_a_transfer_that_is_erased_shows_it_no_longer(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, f"{ERASED}?transfer=x-1")
        await expect(tab.locator("[data-testid=recorded-at]")).to_be_visible()
        async with kafka_producer(cluster.kafka) as producer:
            await producer.send_and_wait(cluster.plan.topics.balances, None, ERASED.encode())
        await expect(tab.locator("[data-testid=gone]")).to_be_visible()
        assert "€" not in await tab.inner_text(DRAWER)
        assert await tab.locator("[data-testid=transfer]").count() == 0
        assert await violations(tab) == []


async def test_drawer_and_chart_are_dimmed_while_the_page_is_not_live(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, f"{CHANGING}?transfer=c-1")
        amount = tab.locator("[data-testid=drawer-amount]")
        await expect(amount).to_be_visible()
        live = await amount.evaluate(COLOUR)
        await tab.context.set_offline(True)
        # Chromium keeps an open WebSocket while offline, so its gateway is the one to end the connection.
        gateway = await page.gateway()
        cluster.supervisors[gateway].kill(restart=False)
        try:
            await tab.wait_for_selector(f"{DRAWER}.stale")
            assert await amount.evaluate(COLOUR) != live
            await tab.wait_for_selector("[data-testid=chart].stale")
        finally:
            cluster.supervisors[gateway].start()
            await tab.context.set_offline(False)
        await page.wait_until_live()
        await expect(amount).to_have_css("color", live)


# --- the chart


async def test_chart_shows_exact_balances_to_the_keyboard(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, EXACT)
        await wait_for_row(tab, f"e-{len(AMOUNTS) - 1}")
        chart = tab.get_by_role("slider", name="Balance over time")
        await tab.wait_for_function(
            """() => document.querySelector('[data-testid=chart]')?.dataset.last
              === document.querySelector('[data-testid=balance]').dataset.amount"""
        )
        await chart.focus()
        await tab.keyboard.press("Home")
        await expect(tab.locator("[data-testid=chart-value]")).to_contain_text("€12.50")
        await tab.keyboard.press("ArrowRight")
        await expect(tab.locator("[data-testid=chart-value]")).to_contain_text("€9.50")
        assert (await chart.get_attribute("aria-valuetext") or "").startswith("€9.50, ")
        await tab.keyboard.press("Escape")
        await expect(tab.locator("[data-testid=change]")).to_contain_text("\u2212\u202f€")
        await tab.locator("[data-testid=chart]").hover()
        await expect(tab.locator("[data-testid=chart-value]")).to_contain_text("Balance")
        assert await violations(tab) == []


async def test_chart_of_a_range_is_restored_by_its_address(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, LONG)
        await tab.get_by_role("button", name="1 year").click()
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{LONG}?range=1y")
        await tab.reload()
        await expect(tab.get_by_role("button", name="1 year")).to_have_attribute("aria-pressed", "true")
        # The points of older transfers are read from the gateway, and the line ends with the balance.
        await tab.wait_for_function(
            "() => Number(document.querySelector('[data-testid=chart]')?.dataset.points) > 150"
        )
        assert await tab.get_attribute("[data-testid=chart]", "data-last") == await tab.get_attribute(
            "[data-testid=balance]", "data-amount"
        )


async def test_chart_is_drawn_four_times_a_second_at_most(cluster: Cluster, open_page: OpenPage) -> None:
    """The page shows each change of the balance, and draws the line less often."""
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, BUSY)
        await tab.wait_for_function(HAS_ACCENT)
        await tab.evaluate(RECORD_DRAWINGS)
        await page.wait_for_revision((await page.content()).revision + 60)
        await tab.wait_for_function("drawings.length > 1")
        drawings = await tab.evaluate("drawings")
        assert len(drawings) <= (drawings[-1] - drawings[0]) / 250 + 4


# --- the list


async def test_filters_are_restored_by_the_address_and_downloaded(
    cluster: Cluster, open_page: OpenPage, tmp_path: Path
) -> None:
    expected = [f"e-{n}" for n, cents in reversed(list(enumerate(AMOUNTS))) if cents > 0 and cents >= 250]
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, EXACT)
        await wait_for_row(tab, f"e-{len(AMOUNTS) - 1}")
        await tab.get_by_role("button", name="In", exact=True).click()
        await tab.get_by_text("More filters").click()
        await tab.get_by_label("Amount from").fill("2,50")
        await tab.keyboard.press("Enter")
        ids = "[...document.querySelectorAll('[data-testid=transfer]')].map(row => row.dataset.id)"
        await tab.wait_for_function(f"ids => {ids}.join() === ids", arg=",".join(expected))
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{EXACT}?direction=in&min=2.50")
        assert await violations(tab) == []
        async with tab.expect_download() as started:
            await tab.get_by_role("button", name="Download CSV").click()
        file = tmp_path / "statement.csv"
        await (await started.value).save_as(file)
        with file.open() as lines:
            assert [line["transfer_id"] for line in csv.DictReader(lines)] == expected

        await tab.reload()
        await tab.wait_for_function(f"ids => {ids}.join() === ids", arg=",".join(expected))
        await write(cluster, [transfer(EXACT, "e-live-in", 900), transfer(EXACT, "e-live-out", -900)])
        await wait_for_row(tab, "e-live-in")
        await page.wait_for_revision(2 * (len(AMOUNTS) + 2))
        assert (await tab.evaluate(ids))[:2] == ["e-live-in", expected[0]]
        await tab.go_back()
        await tab.wait_for_function(f"count => {ids}.length > count", arg=len(expected) + 1)
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{EXACT}?direction=in")


async def test_filters_that_are_cleared_keep_the_focus_and_no_invalid_text(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, f"{EXACT}?direction=out&min=3")
        await tab.get_by_label("Amount to").fill("none")
        await tab.keyboard.press("Tab")
        await expect(tab.locator("#filter-error")).to_contain_text("An amount consists of")
        assert await violations(tab) == []
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{EXACT}?direction=out&min=3")
        clear = tab.get_by_role("button", name="Clear all filters")
        await clear.focus()
        await tab.keyboard.press("Enter")
        await expect(tab.locator("[data-testid=count]")).to_have_text(re.compile("^ *all"))
        await expect(tab).to_have_url(f"{cluster.page}/accounts/{EXACT}")
        await expect(clear).to_be_focused()
        await expect(tab.get_by_label("Amount to")).to_have_value("")
        await expect(tab.locator("#filter-error")).to_have_text("")


async def test_filters_of_a_hostile_address_count_as_absent_or_pass_nothing(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        for address in (
            "?direction[]=in&min=1e999&max=-5&id=%3Cscript%3E&from=9999-99-99&to=0002-01-01",
            f"?min={'9' * 50}&min=2&to=9999-12-31&range=constructor&transfer=..%2F..&id=%E0%A4%A",
        ):
            await show(page, cluster, EXACT + address)
            await expect(page.tab.locator("[data-testid=count]")).to_have_text(re.compile("^ *all"))
        for address in ("?from=2026-05-02&to=2026-05-01", "?min=2&max=1", "?id=__proto__"):
            await page.tab.goto(f"{cluster.page}/accounts/{EXACT}{address}")
            await expect(page.tab.locator("[data-testid=none]")).to_have_text(
                "No transfer passes the filter."
            )


async def test_filter_that_the_gateway_cannot_answer_says_so_until_it_is_tried_again(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, EXACT)
        await wait_for_row(tab, "e-3")
        busy = iter([429, 503])

        async def reject(route: Route) -> None:
            if (status := next(busy, None)) is None:
                await route.continue_()
            else:  # a page waits as long as Retry-After says, and else leaves it to the user
                await route.fulfill(status=status, headers={"retry-after": "0"} if status == 429 else {})

        await tab.route("**/search?*", reject)
        await tab.get_by_role("button", name="Out", exact=True).click()
        await expect(tab.locator(".more")).to_contain_text("The transfers are unavailable")
        assert await tab.locator("[data-testid=transfer]").count() == 0
        assert await violations(tab) == []
        await tab.get_by_role("button", name="Show older transfers").click()
        await wait_for_row(tab, "e-3")
        directions = (
            "[...document.querySelectorAll('[data-testid=transfer]')].map(row => row.dataset.direction)"
        )
        assert set(await tab.evaluate(directions)) == {"debit"}


async def test_date_begins_the_list_and_an_empty_result_says_so(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, LONG)
        await tab.get_by_label("Jump to a date").fill("2026-04-01")
        dates = tab.locator("[data-testid=date]")
        await expect(dates.first).to_have_text("1 Apr 2026")
        assert await tab.get_attribute("[data-testid=transfer] >> nth=0", "data-total")
        await tab.goto(f"{cluster.page}/accounts/{LONG}?id=nothing-has-this")
        await expect(tab.locator("[data-testid=none]")).to_have_text("No transfer passes the filter.")


async def test_list_of_many_transfers_holds_still_while_transfers_arrive(
    cluster: Cluster, open_page: OpenPage
) -> None:
    """Scrolls down thousands of rows: the document holds few of them, in order and without a gap."""
    async with open_page(cluster.page) as page:
        tab = await show(page, cluster, LONG)
        wanted = MANY - 5_000
        async with asyncio.timeout(LIVE_TIMEOUT / 1000):
            while True:
                await tab.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
                await tab.evaluate(TWO_FRAMES)
                rows = (await page.content()).rows
                if rows and rows[-1].revision < wanted:
                    break
        row = tab.locator(f"[data-id='{rows[-40].id}']")
        await row.evaluate("element => element.scrollIntoView({block: 'center'})")
        await tab.evaluate(TWO_FRAMES)
        before = await row.evaluate(TOP)
        held = int(await tab.get_attribute("[data-held-at]", "data-held-at") or 0)
        await write(cluster, [transfer(LONG, f"m-{number}", 100) for number in range(12)])
        await expect(tab.locator("[data-testid=new]")).to_have_text(re.compile(r"^\s*12 new"))
        assert held == MANY
        assert abs(await row.evaluate(TOP) - before) <= 1
        assert await tab.evaluate(ROWS_IN_DOCUMENT) < 1_500
        shown = [row.revision for row in (await page.content()).rows if row.revision <= wanted + 1_000]
        assert shown == list(range(shown[0], shown[-1] - 1, -1))
        await tab.locator("[data-testid=new]").click()
        await expect(tab.locator("[data-testid=transfer] >> nth=0")).to_be_in_viewport()


@pytest.mark.parametrize("size", [SMALL_PHONE, DESKTOP], ids=["phone", "wide"])
async def test_account_in_each_size_cuts_nothing(
    cluster: Cluster, open_page: OpenPage, size: ViewportSize
) -> None:
    async with open_page(cluster.page, viewport=size, color_scheme="dark") as page:
        for address in (LARGE, f"{LARGE}?transfer=l-2", f"{EXACT}?direction=in&min=1"):
            tab = await show(page, cluster, address)
            # The line has the colour of the theme, in which a reader can see it.
            await tab.wait_for_function(HAS_ACCENT)
            if "transfer=" in address:
                await expect(tab.locator("[data-testid=after]")).to_be_visible()
                assert await tab.locator(DRAWER).evaluate(IS_NOT_WIDER)
            else:
                assert await tab.evaluate(CUT_AMOUNTS) == []
            assert await violations(tab) == []
            overflow = await tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert overflow <= 0
