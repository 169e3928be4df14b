"""Each state of the page: its words, figures that are dimmed unless they are live, and its announcement."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ViewportSize, expect

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths, free_port
from tests.acceptance.page.account_page import AccountPage
from tests.acceptance.page.inspection import violations
from tests.acceptance.page.states import STATES, Screen, Shown, Stage, plan, wait_until_shown

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCREENS = (
    Screen("desktop-light", ViewportSize(width=1280, height=900), "light"),
    Screen("phone-dark", ViewportSize(width=320, height=640), "dark"),
)
_COLOUR_OF = """name => {
  const sample = document.body.appendChild(document.createElement('span'));
  sample.style.color = `var(--${name})`;
  const {color} = getComputedStyle(sample);
  sample.remove();
  return color;
}"""
# Of the newest transfer and of the chart, with their arrows.
_COLOURS_OF_CHANGES = """() => ['.figures', '.chart-value']
  .flatMap(place => [...document.querySelectorAll(`${place} [data-direction], ${place} [data-direction] *`)])
  .filter(element => element.checkVisibility() && !element.matches('.quiet, .id, .sr-only'))
  .map(element => getComputedStyle(element).color)"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(paths: StatePaths, browser: Browser) -> AsyncIterator[Stage]:
    async with Cluster(StatePaths(paths.home, paths.state / "states"), plan(free_port())) as cluster:
        yield Stage(cluster, browser, SCREENS)


@pytest.mark.parametrize("name", STATES)
async def test_page_in_each_state_says_so_and_shows_no_old_figure_as_live(stage: Stage, name: str) -> None:
    bring, shown = STATES[name]
    async with bring(stage) as pages:
        for page in pages:
            await wait_until_shown(page, shown)
            await assert_figures(page, shown)
            announced = page.tab.locator("[role=status]").filter(has_text="Connection: ")
            await expect(announced.first).to_be_attached()
            overflow = await page.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert overflow <= 0
        assert await violations(pages[-1].tab) == []


async def assert_figures(page: AccountPage, shown: Shown) -> None:
    """Asserts that the balance is live, dimmed, or not there, and that the title agrees."""
    balance = page.tab.locator("[data-testid=balance] lb-amount")
    if shown.figures == "none":
        await expect(balance).to_have_count(0)
        await expect(page.tab.locator("[data-testid=transfer]")).to_have_count(0)
        return
    colour = await page.tab.evaluate(_COLOUR_OF, "quiet" if shown.figures == "dimmed" else "text")
    await expect(balance).to_have_css("color", colour)  # each new amount is a new element
    if shown.figures == "dimmed":
        assert set(await page.tab.evaluate(_COLOURS_OF_CHANGES)) <= {colour}
    if shown.figures == "live":
        await expect(page.tab).to_have_title(re.compile("€"))  # at most half a second later
    else:
        assert "€" not in await page.tab.title()
