"""A real browser before the real thing: it shows what SQL has, it moves, it survives, and it can be read."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import ViewportSize

from livebalance.stack.build.node import WEB
from livebalance.stack.cluster import Cluster
from tests.acceptance.page import books
from tests.acceptance.page.conftest import OpenView
from tests.acceptance.page.view import LIVE, View
from tests.tokens import claims, sign

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCOUNT = "acc-0001"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=390, height=844)
# LIVEBALANCE_SCREENSHOT=docs/page.png makes the picture of the README anew.
PICTURE = os.environ.get("LIVEBALANCE_SCREENSHOT")


def of(url: str) -> str:
    return f"{url}/accounts/{ACCOUNT}"


async def expect_sql(cluster: Cluster, view: View) -> None:
    """The page and SQL agree on every row down to the last one on the page."""
    shown = await view.shown()
    last = shown.rows[-1].revision if shown.rows else shown.revision + 1
    assert shown.rows == await books.rows(cluster.postgres(), ACCOUNT, shown.revision, last - 1)


async def moves(view: View, by: int = 20) -> None:
    """The account changes on the page, by so many revisions."""
    await view.reaches((await view.shown()).revision + by)


async def more_than(cluster: Cluster, transfers: int) -> None:
    """Wait until the account has so many more transfers than now."""
    wanted = await books.count(cluster.postgres(), ACCOUNT) + transfers
    async with asyncio.timeout(60):
        while await books.count(cluster.postgres(), ACCOUNT) < wanted:  # noqa: ASYNC110 - SQL tells only who asks
            await asyncio.sleep(0.1)


async def test_with_the_older_pages_it_shows_exactly_what_sql_has(
    cluster: Cluster, open_view: OpenView
) -> None:
    await more_than(cluster, 120)
    async with open_view(of(cluster.page)) as view:
        await view.live()
        await view.to_the_beginning()
        shown = await view.shown()
        assert len(shown.rows) > 120
        assert shown.rows == await books.rows(cluster.postgres(), ACCOUNT, shown.revision)


async def test_it_moves_on_each_gateway(cluster: Cluster, open_view: OpenView) -> None:
    served = set()
    for url in cluster.gateways:
        # No desk gives out tokens here: a cookie does, as it would where people sign in.
        signed_in = sign(claims(accounts=["acc-*"]), cluster.demo_secret)
        async with open_view(of(url), signed_in=signed_in) as view:
            await view.live()
            await moves(view)
            await expect_sql(cluster, view)
            assert await view.gaps() == 0
            served.add(await view.gateway())
    assert served == {"gateway-1", "gateway-2"}


async def test_it_survives_the_kill_of_its_gateway(cluster: Cluster, open_view: OpenView) -> None:
    async with open_view(of(cluster.page)) as view:
        await view.live()
        first = await view.gateway()
        before = await view.shown()
        cluster.supervisors[first].kill(restart=False)
        await view.leaves(first)
        await moves(view)
        await expect_sql(cluster, view)
        assert (await view.shown()).rows[
            -len(before.rows) :
        ] == before.rows  # it resumed: nothing was shown anew
        cluster.supervisors[first].start()


async def test_it_leaves_a_gateway_that_hangs(cluster: Cluster, open_view: OpenView) -> None:
    async with open_view(of(cluster.page)) as view:
        await view.live()
        first = await view.gateway()
        pid = cluster.supervisors[first].child.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await view.leaves(first)  # no connection broke: only the page's own timer tells
            await moves(view)
            await expect_sql(cluster, view)
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_what_a_long_absence_left_out_is_filled_in(cluster: Cluster, open_view: OpenView) -> None:
    async with open_view(of(cluster.page)) as view:
        await view.live()
        before = await view.shown()
        for name in ("gateway-1", "gateway-2"):
            cluster.supervisors[name].kill(restart=False)
        await view.tab.wait_for_selector('[data-testid=connection][data-state="reconnecting"]', timeout=LIVE)
        await more_than(cluster, 100)  # and as many balances
        for name in ("gateway-1", "gateway-2"):
            cluster.supervisors[name].start()
        await view.live()
        await view.tab.wait_for_selector("[data-testid=missing]", state="detached", timeout=LIVE)
        await expect_sql(cluster, view)
        shown = await view.shown()
        assert shown.rows[-len(before.rows) :] == before.rows
        assert shown.revision > before.revision + 100  # further than gateways resume


async def test_an_account_is_chosen_by_keyboard(cluster: Cluster, open_view: OpenView) -> None:
    async with open_view(cluster.page) as view:
        await view.tab.wait_for_selector("[data-testid=account]")
        await view.tab.fill("[data-testid=account-input]", "acc-000")
        await view.tab.wait_for_selector("[role=option]")
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
            await view.tab.keyboard.press(key)
        await view.live()
        assert view.tab.url == f"{cluster.page}/accounts/acc-0002"
        assert "acc-0002" in await view.tab.title()


async def test_an_account_that_does_not_exist_yet_is_waited_for(
    cluster: Cluster, open_view: OpenView
) -> None:
    async with open_view(f"{cluster.page}/accounts/nobody") as view:
        await view.live()
        assert (await view.shown()).revision == 0
        assert "No balance yet" in await view.tab.inner_text("[data-testid=balance]")


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)
@pytest.mark.parametrize("path", ["/", f"/accounts/{ACCOUNT}"], ids=["choose", "account"])
async def test_it_can_be_read(
    cluster: Cluster, open_view: OpenView, path: str, size: ViewportSize, scheme: str
) -> None:
    async with open_view(cluster.page + path, viewport=size, color_scheme=scheme) as view:
        await view.tab.wait_for_selector("[data-testid=account]")
        if path != "/":
            await view.live()
        await view.tab.evaluate(AXE.read_text())
        found = await view.tab.evaluate("axe.run()")
        broken = [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found["violations"]]
        assert broken == []
        wide = await view.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0


async def test_the_policy_is_the_strict_one(
    cluster: Cluster, open_view: OpenView, complaints: list[str]
) -> None:
    async with open_view(cluster.page) as view:
        answer = await view.tab.reload()
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        blocked = await view.tab.evaluate(
            """() => new Promise(done => {
              const told = ({violatedDirective}) => done(violatedDirective);
              document.addEventListener('securitypolicyviolation', told);
              document.body.append(Object.assign(document.createElement('script'), {textContent: '1'}));
            })"""
        )
        assert blocked == "script-src-elem"
    assert len(complaints) == 1  # and the browser says so
    complaints.clear()


async def test_the_picture(cluster: Cluster, open_view: OpenView, tmp_path: Path) -> None:
    look: dict[str, Any] = {"viewport": ViewportSize(width=1200, height=860), "device_scale_factor": 1.5}
    look["reduced_motion"] = "no-preference"
    async with open_view(f"{cluster.page}/accounts/acc-0003", color_scheme="light", **look) as view:
        await view.live()
        await moves(view, 100)
        feed = cluster.supervisors["feed-1"]
        await feed.stop()
        # The newest are still highlighted, the others not any more.
        lit = "document.getAnimations().filter(one => one.animationName === 'fade').length"
        await view.tab.wait_for_function(f"() => {lit} <= 3", timeout=LIVE)
        picture = Path(PICTURE or tmp_path / "page.png")
        assert len(await view.tab.screenshot(path=picture)) > 20_000  # bytes: not an empty page
        feed.start()
