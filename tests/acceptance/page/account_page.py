"""Page object: what a user sees on the page of an account, as values."""

import asyncio
from typing import Any, NamedTuple

from playwright.async_api import Locator, Page, Response, TimeoutError

# ms until the page is live again: it notices a killed gateway, and connects to another
LIVE_TIMEOUT = 60_000.0

_CONTENT = """() => {
  const raw = (id, name) => document.querySelector(`[data-testid=${id}]`)?.dataset[name] ?? '';
  const rows = [...document.querySelectorAll('[data-testid=transfer]')].map(({dataset: row}) =>
    [row.id, Number(row.revision), row.amount, row.total]);
  const count = document.querySelector('[data-testid=count]')?.textContent ?? '';
  return {epoch: raw('epoch', 'epoch'), revision: Number(raw('revision', 'revision')),
          amount: raw('balance', 'amount'), rows, row_count: Number(count.replace(/[^0-9]/g, ''))};
}"""

# Returns whether the row is in the document. It stays there while it is in the window.
_SCROLL_TOWARDS = """selector => {
  const row = document.querySelector(selector);
  if (row === null) scrollBy(0, 2000);
  else row.scrollIntoView({block: 'center'});
  return row !== null;
}"""


class Row(NamedTuple):
    id: str
    revision: int
    amount: str
    total: str


class Content(NamedTuple):
    """Content of the page at a moment. `rows` are those near the window, from top to bottom."""

    epoch: str
    revision: int
    amount: str
    rows: list[Row]
    row_count: int  # of the whole list


class AccountPage:
    """The page in a browser tab."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab
        self._errors: list[str] = []
        tab.on("pageerror", lambda error: self._errors.append(str(error)))
        tab.on("requestfailed", lambda request: self._errors.append(f"{request.url}: {request.failure}"))
        tab.on("response", self._on_response)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self._errors.append(f"{response.url}: {response.status}")

    async def wait_until_live(self) -> None:
        """Waits until the page says "live". If it does not, the error tells what it says instead."""
        live = '[data-testid=connection][data-state="live"]'
        try:
            await self.tab.wait_for_selector(live, timeout=LIVE_TIMEOUT)
        except TimeoutError as error:
            text, errors = await self.tab.inner_text("body"), self._errors[-20:]
            raise AssertionError(f"{self.tab.url} is not live, but says {text!r}; {errors=}") from error

    async def gateway(self) -> str:
        return await self.tab.inner_text("[data-testid=gateway]")

    async def gaps(self) -> int:
        return int(await self.tab.get_attribute("[data-testid=check]", "data-gaps") or 0)

    async def content(self) -> Content:
        fields: dict[str, Any] = await self.tab.evaluate(_CONTENT)
        rows = [Row(*row) for row in fields.pop("rows")]
        return Content(rows=rows, **fields)

    async def wait_for_revision(self, revision: int) -> None:
        """Waits until the page shows at least this revision."""
        await self.tab.wait_for_function(
            "wanted => Number(document.querySelector('[data-testid=revision]')?.dataset.revision) >= wanted",
            arg=revision,
            timeout=LIVE_TIMEOUT,
        )

    async def wait_for_other_gateway(self, gateway: str) -> None:
        """Waits until a gateway other than `gateway` serves the page."""
        await self.tab.wait_for_function(
            """name => {
              const text = document.querySelector('[data-testid=gateway]')?.textContent ?? '';
              return text.startsWith('gateway') && text !== name;
            }""",
            arg=gateway,
            timeout=LIVE_TIMEOUT,
        )
        await self.wait_until_live()

    async def show_new(self) -> None:
        """Shows the transfers that arrived while the list was read."""
        await self.tab.evaluate("scrollTo(0, 0)")
        await self.tab.wait_for_selector("[data-held-at]", state="detached", timeout=LIVE_TIMEOUT)

    async def scroll_to_end(self) -> None:
        """Scrolls down until all older transfers are loaded."""
        async with asyncio.timeout(LIVE_TIMEOUT / 1000):
            while not await self.tab.locator("[data-testid=end]").count():
                await self.tab.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
                await self._wait_for_frames()

    async def scroll_to_row(self, id_: str) -> Locator:
        """Scrolls down from the top until the document holds a row, and to this row."""
        selector = f"[data-testid=transfer][data-id='{id_}']"
        await self.tab.evaluate("scrollTo(0, 0)")
        async with asyncio.timeout(LIVE_TIMEOUT / 1000):
            while not await self.tab.evaluate(_SCROLL_TOWARDS, selector):
                await self._wait_for_frames()
        await self._wait_for_frames()
        return self.tab.locator(selector)

    async def load_all_transfers(self) -> Content:
        """Returns the content with all transfers. The document holds only the rows near the window."""
        await self.scroll_to_end()
        await self.show_new()
        content = await self.content()
        rows = {row.revision: row for row in content.rows}
        end = self.tab.locator("[data-testid=end]")
        while not await end.evaluate("element => element.getBoundingClientRect().top < innerHeight"):
            await self.tab.evaluate("scrollBy(0, 2000)")
            await self._wait_for_frames()
            rows |= {row.revision: row for row in (await self.content()).rows}
        shown = [rows[revision] for revision in sorted(rows, reverse=True) if revision <= content.revision]
        return content._replace(rows=shown)

    async def _wait_for_frames(self) -> None:
        """Waits until the page has rendered the rows near the window."""
        frame = "new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)))"
        await self.tab.evaluate(f"async () => {{ for (let n = 0; n < 3; n += 1) await {frame}; }}")
