"""The trust panel: a user breaks the demo from its page, and reads on the page what happened."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx
import pytest
from playwright.async_api import Locator, ViewportSize, expect

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import free_port
from tests.acceptance.page.account_page import LIVE_TIMEOUT, AccountPage
from tests.acceptance.page.conftest import OpenPage
from tests.acceptance.page.inspection import violations
from tests.acceptance.page.stored_transfers import read_transfers
from tests.acceptance.page.workspace import address, recent_balances, rows, wait_for_states

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATEWAY_ENVIRONMENT: dict[str, str] = {}  # heartbeats every 10 s: a busy machine loses no connection
ACCOUNT = "acc-0001"
RESUMED = re.compile(rf"Resumed {ACCOUNT} from revision \d+: (nothing was missed|\d+ revisions? replayed)")
EQUAL = re.compile(rf"Nothing missing: {ACCOUNT} equals SQL at revision (\d+)")


async def open_panel(page: AccountPage) -> Locator:
    """Opens the trust panel of a live page, and returns its timeline."""
    await page.wait_until_live()
    await page.tab.locator("[data-testid=trust] summary").click()
    return page.tab.locator("[data-testid=timeline]")


async def click(page: AccountPage, name: str) -> None:
    """Clicks a button of the panel by a part of its name."""
    await page.tab.get_by_role("button", name=name).click()


async def sentences(timeline: Locator) -> list[str]:
    return await timeline.locator("li span").all_inner_texts()


def count_accounts(texts: list[str]) -> int:
    """Returns the number of accounts that sentences are about: a sentence names one, or how many."""
    return sum(int(many[1]) if (many := re.search(r"(\d+) accounts", text)) else 1 for text in texts)


async def wait_until_ready(cluster: Cluster, gateway: str) -> None:
    """Waits until the supervisor has started a killed gateway again."""
    async with asyncio.timeout(LIVE_TIMEOUT / 1000):
        while not await cluster.services[gateway].is_ready():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def test_page_that_kills_its_gateway_says_what_happened_and_that_nothing_is_missing(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(f"{cluster.page}/accounts/{ACCOUNT}") as page:
        timeline = await open_panel(page)
        gateway = await page.gateway()
        pid = cluster.supervisors[gateway].child.pid
        await click(page, "Kill my gateway")
        equal = timeline.locator("li[data-kind=compared]").first
        await expect(equal).to_contain_text(EQUAL)
        await expect(timeline).to_contain_text("You killed")
        happened = await sentences(timeline)
        killed = happened.index(f"You killed {gateway} (kill -9 of process {pid})")
        rest = [text for text in happened[killed + 1 :] if "reconnect failed" not in text]
        assert rest[0] == f"Socket to {gateway} lost: connection lost"
        assert re.fullmatch(r"Reconnected to gateway-\d after \d+\.\d s", rest[1])
        assert RESUMED.fullmatch(rest[2])
        assert EQUAL.fullmatch(rest[3])
        # The supervisor starts the gateway again, as another process.
        await wait_until_ready(cluster, gateway)
        assert cluster.supervisors[gateway].child.pid not in (None, pid)
        content = await page.content()
        oldest = content.rows[-1].revision
        stored = await read_transfers(cluster.postgres(), ACCOUNT, content.revision, oldest - 1)
        assert content.rows == stored


async def test_watchlist_whose_gateway_is_killed_from_it_is_live_again_and_says_what_happened(
    cluster: Cluster, open_page: OpenPage
) -> None:
    watched = [f"acc-{number:04}" for number in range(1, 6)]
    async with open_page(address(cluster.page, watched)) as page:
        await wait_for_states(page.tab, "live", len(watched))
        await page.tab.locator("[data-testid=trust] summary").click()
        timeline = page.tab.locator("[data-testid=timeline]")
        await click(page, "Kill my gateway")
        compared = timeline.locator("li[data-kind=compared] span")
        async with asyncio.timeout(LIVE_TIMEOUT / 1000):
            while count_accounts(await compared.all_inner_texts()) < len(watched):  # noqa: ASYNC110 - the browser
                await asyncio.sleep(0.1)
        happened = await sentences(timeline)
        killed = next(at for at, text in enumerate(happened) if text.startswith("You killed gateway-"))
        rest = [text for text in happened[killed + 1 :] if "reconnect failed" not in text]
        assert rest[0].startswith("Socket to gateway-")
        assert rest[1].startswith("Reconnected to gateway-")
        # Accounts share a sentence if they are resumed, or compared, right after each other.
        resumed = [text for text in rest[2:] if text.startswith("Resumed ")]
        equal = [text for text in rest[2:] if text.startswith("Nothing missing: ")]
        assert (count_accounts(resumed), count_accounts(equal)) == (5, 5)
        assert len(rest) == 2 + len(resumed) + len(equal)
        await wait_for_states(page.tab, "live", len(watched))
        shown = {account: row.amount for account, row in (await rows(page.tab)).items()}
        assert shown.pop(watched[-1]) is None  # nothing was written of it yet
        for account, amount in shown.items():  # the demo goes on writing transfers of the others meanwhile
            assert amount in await recent_balances(cluster, account)
        for name in ("gateway-1", "gateway-2"):
            await wait_until_ready(cluster, name)


async def test_page_whose_socket_is_cut_resumes_without_a_snapshot(
    cluster: Cluster, open_page: OpenPage
) -> None:
    async with open_page(f"{cluster.page}/accounts/{ACCOUNT}") as page:
        timeline = await open_panel(page)
        await click(page, "Cut my socket")
        equal = timeline.locator("li[data-kind=compared]").first
        await expect(equal).to_contain_text(EQUAL)
        assert "You cut the socket" in await sentences(timeline)
        resumes = await page.tab.get_attribute("[data-testid=trust-resumes]", "data-resumes")
        assert int(resumes or 0) >= 1
        assert await page.tab.inner_text("[data-testid=trust-snapshots]") == "1 first load"


async def test_burst_from_the_page_arrives_and_is_measured(cluster: Cluster, open_page: OpenPage) -> None:
    async with open_page(f"{cluster.page}/accounts/{ACCOUNT}") as page:
        timeline = await open_panel(page)
        await click(page, "Send a transfer")
        await expect(timeline).to_contain_text(f"You sent a transfer of {ACCOUNT}")
        before = (await page.content()).revision
        await click(page, "Burst of 500")
        await expect(timeline).to_contain_text(f"You sent 500 transfers of {ACCOUNT}")
        await page.wait_for_revision(before + 1_000)  # each changes the list and the balance
        delay = page.tab.locator("[data-testid=trust-delay]")
        await expect(delay).to_have_text(re.compile(r"p50 [\d.]+ m?s, p95 [\d.]+ m?s \(last \d+\)"))


async def test_panel_on_a_phone_in_the_dark_is_accessible_and_not_too_wide(
    cluster: Cluster, open_page: OpenPage
) -> None:
    url = f"{cluster.page}/accounts/{ACCOUNT}"
    size = ViewportSize(width=320, height=640)
    async with open_page(url, viewport=size, color_scheme="dark") as page:
        await open_panel(page)
        assert await violations(page.tab) == []
        overflow = await page.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0


@asynccontextmanager
async def foreign_page(html: str) -> AsyncIterator[str]:
    """Serves a page at another port of this machine. The browser itself blocks pages of other machines."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = html.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port := free_port()):
        yield f"http://127.0.0.1:{port}/"


async def test_page_of_another_origin_kills_nothing(
    cluster: Cluster, open_page: OpenPage, browser_errors: list[str]
) -> None:
    control = f"{cluster.page}/api/demo/control/kill-gateway"
    names = ("gateway-1", "gateway-2")
    pids = [cluster.supervisors[name].child.pid for name in names]
    form = f"""<link rel="icon" href="data:,"><form method=post enctype="text/plain" action="{control}">
      <input name='{{"gateway": "gateway-1", "x": "' value='"}}'></form>"""
    body = '{"gateway": "gateway-1"}'
    send = f"async url => {{ await fetch(url, {{method: 'POST', mode: 'no-cors', body: '{body}'}}) }}"
    async with foreign_page(form) as foreign, open_page(foreign) as page:
        async with page.tab.expect_response(control) as fetched:
            await page.tab.evaluate(send, control)
        assert (await fetched.value).status == HTTPStatus.FORBIDDEN
        async with page.tab.expect_response(control) as submitted:
            await page.tab.evaluate("document.forms[0].submit()")
        assert (await submitted.value).status == HTTPStatus.FORBIDDEN
    assert [cluster.supervisors[name].child.pid for name in names] == pids
    assert all(control in error or "403" in error for error in browser_errors), browser_errors
    browser_errors.clear()


@pytest.mark.parametrize(
    ("action", "request_body"),
    [
        ("kill-gateway", {"gateway": "projector-1"}),
        ("kill-gateway", {}),
        ("transfers", {"account": "nobody", "count": 1}),
        ("transfers", {"account": ACCOUNT, "count": 501}),
        ("transfers", {"account": ACCOUNT, "count": True}),
    ],
)
async def test_control_with_a_wrong_request_does_nothing(
    cluster: Cluster, action: str, request_body: dict[str, object]
) -> None:
    pids = cluster.state().pids
    async with httpx.AsyncClient(base_url=cluster.page, headers={"Origin": cluster.page}) as http:
        response = await http.post(f"/api/demo/control/{action}", json=request_body)
    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert cluster.state().pids == pids
