"""Page object: what a user sees on the page of an account, as values."""

from typing import Any, NamedTuple

from playwright.async_api import Page

# ms until the page is live again: it notices a killed gateway, and connects to another
LIVE_TIMEOUT = 60_000.0

_CONTENT = """() => {
  const raw = (id, name) => document.querySelector(`[data-testid=${id}]`)?.dataset[name] ?? '';
  const rows = [...document.querySelectorAll('[data-testid=transfer]')].map(({dataset: row}) =>
    [row.id, Number(row.revision), row.amount, row.total]);
  return {epoch: raw('epoch', 'epoch'), revision: Number(raw('revision', 'revision')),
          amount: raw('balance', 'amount'), rows};
}"""


class Row(NamedTuple):
    id: str
    revision: int
    amount: str
    total: str


class Content(NamedTuple):
    """Content of the page at a moment; `rows` from top to bottom."""

    epoch: str
    revision: int
    amount: str
    rows: list[Row]


class AccountPage:
    """The page in a browser tab."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab

    async def wait_until_live(self) -> None:
        """Waits until the page says "live"."""
        await self.tab.wait_for_selector('[data-testid=connection][data-state="live"]', timeout=LIVE_TIMEOUT)

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

    async def load_all_transfers(self) -> None:
        """Loads older transfers until there are none."""
        older = self.tab.locator("[data-testid=older]")
        while await older.count():
            before = len((await self.content()).rows)
            await older.click()
            await self.tab.wait_for_function(
                """before => document.querySelector('[data-testid=end]')
                   || document.querySelectorAll('[data-testid=transfer]').length >= before + 50""",
                arg=before,
                timeout=LIVE_TIMEOUT,
            )
