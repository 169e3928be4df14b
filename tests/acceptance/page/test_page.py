"""The page in a real browser: shows what Postgres has, survives faults of gateways, and is accessible."""

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Response, Route, ViewportSize, expect

from livebalance.stack.cluster import Cluster
from tests.acceptance.page.account_page import LIVE_TIMEOUT, AccountPage, Content
from tests.acceptance.page.conftest import OpenPage
from tests.acceptance.page.inspection import violations
from tests.acceptance.page.stored_transfers import count_transfers, read_transfers
from tests.acceptance.page.written_records import transfer, write
from tests.tokens import claims, sign

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCOUNT = "acc-0001"
DESKTOP = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=390, height=844)
# LIVEBALANCE_SCREENSHOT=docs/page.png renews the screenshot of the README.
SCREENSHOT = os.environ.get("LIVEBALANCE_SCREENSHOT")


def account_url(url: str) -> str:
    return f"{url}/accounts/{ACCOUNT}"


async def assert_same_as_postgres(cluster: Cluster, page: AccountPage) -> None:
    """Asserts that Postgres has the transfers on the page, and no others between these revisions."""
    content = await page.content()
    oldest = content.rows[-1].revision if content.rows else content.revision + 1
    assert content.rows == await read_transfers(cluster.postgres(), ACCOUNT, content.revision, oldest - 1)


async def assert_kept(cluster: Cluster, before: Content, after: Content) -> None:
    """Asserts that the list kept the rows that it had before, and has all later rows."""
    later = await read_transfers(cluster.postgres(), ACCOUNT, after.revision, before.revision)
    assert after.row_count == before.row_count + len(later)


async def wait_for_updates(page: AccountPage, revisions: int = 20) -> None:
    """Waits until the account on the page has advanced by this many revisions."""
    await page.wait_for_revision((await page.content()).revision + revisions)


async def wait_for_transfers(cluster: Cluster, count: int) -> None:
    """Waits until Postgres has `count` more transfers of the account than now."""
    wanted = await count_transfers(cluster.postgres(), ACCOUNT) + count
    async with asyncio.timeout(60):
        while await count_transfers(cluster.postgres(), ACCOUNT) < wanted:  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(0.1)


async def test_page_with_all_older_transfers_equals_postgres(cluster: Cluster, open_page: OpenPage) -> None:
    await wait_for_transfers(cluster, 120)
    async with open_page(account_url(cluster.page)) as page:
        await page.wait_until_live()
        content = await page.load_all_transfers()
        assert len(content.rows) > 120
        assert content.rows == await read_transfers(cluster.postgres(), ACCOUNT, content.revision)


async def test_page_of_each_gateway_shows_updates(cluster: Cluster, open_page: OpenPage) -> None:
    gateways = set()
    for url in cluster.gateways:
        # A gateway has no endpoint for demo tokens, so the page sends a cookie, as after a sign-in.
        token = sign(claims(accounts=["acc-*"]), cluster.demo_secret)
        async with open_page(account_url(url), token=token) as page:
            await page.wait_until_live()
            await wait_for_updates(page)
            await assert_same_as_postgres(cluster, page)
            assert await page.gaps() == 0
            gateways.add(await page.gateway())
    assert gateways == {"gateway-1", "gateway-2"}


async def test_page_whose_gateway_is_killed_resumes_at_another(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(account_url(cluster.page)) as page:
        await page.wait_until_live()
        gateway = await page.gateway()
        before = await page.content()
        feed = cluster.supervisors["feed-1"]
        await feed.stop()  # so that the page does not miss too many to resume, however long it takes
        cluster.supervisors[gateway].kill(restart=False)
        await write(cluster, [transfer(ACCOUNT, f"missed-{number}", 100) for number in range(5)])
        await page.wait_for_other_gateway(gateway)
        feed.start()
        await wait_for_updates(page)
        await assert_same_as_postgres(cluster, page)
        await assert_kept(cluster, before, await page.content())  # a snapshot would have replaced the rows
        cluster.supervisors[gateway].start()


async def test_page_whose_gateway_hangs_connects_to_another(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(account_url(cluster.page)) as page:
        await page.wait_until_live()
        gateway = await page.gateway()
        pid = cluster.supervisors[gateway].child.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await page.wait_for_other_gateway(
                gateway
            )  # its connection is still open: a timer of the page fires
            await wait_for_updates(page)
            # If it has missed too many to resume, it reads them while updates arrive.
            await page.tab.wait_for_selector("[data-testid=missing]", state="detached")
            await assert_same_as_postgres(cluster, page)
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_page_after_a_long_outage_fills_the_gap(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(account_url(cluster.page)) as page:
        await page.wait_until_live()
        before = await page.content()
        for name in ("gateway-1", "gateway-2"):
            cluster.supervisors[name].kill(restart=False)
        await page.tab.wait_for_selector('[data-testid=connection][data-state="reconnecting"]')
        await wait_for_transfers(cluster, 100)  # and as many balances
        for name in ("gateway-1", "gateway-2"):
            cluster.supervisors[name].start()
        await page.wait_until_live()
        await page.tab.wait_for_selector("[data-testid=missing]", state="detached")
        await assert_same_as_postgres(cluster, page)
        after = await page.content()
        await assert_kept(cluster, before, after)
        assert after.revision > before.revision + 100  # LIVEBALANCE_RECOVERY_MAX_REVISIONS


async def test_page_opened_without_any_gateway_says_reconnecting_and_recovers(
    cluster: Cluster, open_page: OpenPage
) -> None:
    gateways = [cluster.supervisors[name] for name in ("gateway-1", "gateway-2")]
    for gateway in gateways:
        gateway.kill(restart=False)
    async with open_page(account_url(cluster.page)) as account, open_page(cluster.page) as landing:
        await account.tab.wait_for_selector('[data-testid=connection]:has-text("Reconnecting")')
        await landing.tab.wait_for_selector("text=This page tries again")
        for gateway in gateways:
            gateway.start()
        await landing.tab.wait_for_selector("[data-testid=account]")
        await account.wait_until_live()
        await wait_for_updates(account)
        await assert_same_as_postgres(cluster, account)


async def test_account_is_chosen_by_keyboard(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(cluster.page) as page:
        await page.tab.wait_for_selector("[data-testid=account]")
        await page.tab.fill("[data-testid=account-input]", "acc-000")
        await page.tab.wait_for_selector("[role=option]")
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
            await page.tab.keyboard.press(key)
        await page.wait_until_live()
        await expect(page.tab).to_have_url(f"{cluster.page}/accounts/acc-0002")
        await expect(page.tab).to_have_title(re.compile("acc-0002"))


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)
@pytest.mark.parametrize("path", ["/", f"/accounts/{ACCOUNT}"], ids=["choose", "account"])
async def test_page_in_each_size_and_scheme_is_accessible(
    cluster: Cluster, open_page: OpenPage, path: str, size: ViewportSize, scheme: str
) -> None:
    async with open_page(cluster.page + path, viewport=size, color_scheme=scheme) as page:
        await page.tab.wait_for_selector("[data-testid=account]")
        if path != "/":
            await page.wait_until_live()
        assert await violations(page.tab) == []
        overflow = await page.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0


async def test_page_with_an_inline_script_blocks_it(
    cluster: Cluster, open_page: OpenPage, browser_errors: list[str]
) -> None:
    async with open_page(cluster.page) as page:
        response = await page.tab.reload()
        assert response is not None
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        blocked = await page.tab.evaluate(
            """() => new Promise(resolve => {
              const report = ({violatedDirective}) => resolve(violatedDirective);
              document.addEventListener('securitypolicyviolation', report);
              const script = document.createElement('script');
              script.append('window.injected = true');
              document.body.append(script);
            })"""
        )
        assert blocked in ("require-trusted-types-for", "script-src-elem")
        assert await page.tab.evaluate("window.injected") is None
    assert browser_errors  # the browser's reports of the blocked script
    browser_errors.clear()


async def test_reference_page_reads_an_account_with_a_token_that_came_before_the_document(
    cluster: Cluster, open_page: OpenPage
) -> None:
    requests: list[str] = []
    token_came = asyncio.Event()

    def note_token(response: Response) -> None:
        if response.url.endswith("/token"):
            token_came.set()

    async def answer_after_the_token(route: Route) -> None:
        await asyncio.wait_for(token_came.wait(), LIVE_TIMEOUT / 1000)
        await route.continue_()

    async with open_page(f"{cluster.page}/api/docs", viewport=DESKTOP) as page:
        page.tab.on("request", lambda request: requests.append(request.url))
        page.tab.on("response", note_token)
        await page.tab.route("**/api/openapi.json", answer_after_the_token)
        await page.tab.reload()
        await page.tab.click("#demo-token")
        await page.tab.wait_for_selector("text=Requests have a token of the demo.")
        operation = page.tab.locator("#operations-accounts-account_api_v1_accounts__account__get")
        await operation.locator(".opblock-summary-control").first.click()
        field = operation.locator("tr[data-param-name=account] input")
        await field.fill(ACCOUNT)
        await field.blur()  # the page takes the text a moment after it was typed, or when the focus leaves
        await operation.locator("button.execute").click()
        answer = operation.locator(".live-responses-table .response")
        await answer.locator("text=200").first.wait_for()
        assert f"account:{ACCOUNT}" in await answer.first.inner_text()
    assert all(request.startswith((cluster.page, "data:")) for request in requests), requests


async def test_reference_page_shows_the_messages_and_opens_a_socket(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(f"{cluster.page}/api/docs/live", viewport=PHONE) as page:
        viewer = page.tab.locator("asyncapi-viewer")
        for message in ("welcome", "snapshot", "delta"):
            await viewer.locator(f"text={message}").first.wait_for(state="attached")
        await page.tab.fill("#account", ACCOUNT)
        await page.tab.click("#try button[type=submit]")
        for part in ('"type":"snapshot"', '"type":"delta"'):
            await page.tab.wait_for_selector(f"#log:has-text('{part}')")
        await page.tab.click("#send")
        await page.tab.wait_for_selector("""#log:has-text('{"type":"ok","id":2}')""")
        overflow = await page.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0


async def test_screenshot_of_the_page_is_not_empty(
    cluster: Cluster, open_page: OpenPage, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"viewport": ViewportSize(width=1200, height=860), "device_scale_factor": 1.5}
    options["reduced_motion"] = "no-preference"
    async with open_page(f"{cluster.page}/accounts/acc-0003", color_scheme="light", **options) as page:
        await page.wait_until_live()
        await wait_for_updates(page, 100)
        feed = cluster.supervisors["feed-1"]
        await feed.stop()
        # Waits until only the newest rows are highlighted.
        fading = "document.getAnimations().filter(animation => animation.animationName === 'fade').length"
        await page.tab.wait_for_function(f"() => {fading} <= 3")
        screenshot = Path(SCREENSHOT or tmp_path / "page.png")
        assert len(await page.tab.screenshot(path=screenshot)) > 20_000  # bytes
        feed.start()
