"""What a person sees on the page of an account, as values."""

from typing import Any, NamedTuple

from playwright.async_api import Page

LIVE = 20_000.0  # ms to become live: a gateway that was killed is noticed, another one answers

_SHOWN = """() => {
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


class Shown(NamedTuple):
    """All of one moment; `rows` from top to bottom."""

    epoch: str
    revision: int
    amount: str
    rows: list[Row]


class View:
    """One tab."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab

    async def live(self) -> None:
        """Wait until it says "live"."""
        await self.tab.wait_for_selector('[data-testid=connection][data-state="live"]', timeout=LIVE)

    async def gateway(self) -> str:
        return await self.tab.inner_text("[data-testid=gateway]")

    async def gaps(self) -> int:
        return int(await self.tab.get_attribute("[data-testid=check]", "data-gaps") or 0)

    async def shown(self) -> Shown:
        found: dict[str, Any] = await self.tab.evaluate(_SHOWN)
        rows = [Row(*row) for row in found.pop("rows")]
        return Shown(rows=rows, **found)

    async def reaches(self, revision: int) -> None:
        """Wait until at least this revision is shown."""
        await self.tab.wait_for_function(
            "wanted => Number(document.querySelector('[data-testid=revision]')?.dataset.revision) >= wanted",
            arg=revision,
            timeout=LIVE,
        )

    async def leaves(self, gateway: str) -> None:
        """Wait until another gateway serves it."""
        await self.tab.wait_for_function(
            """name => {
              const text = document.querySelector('[data-testid=gateway]')?.textContent ?? '';
              return text.startsWith('gateway') && text !== name;
            }""",
            arg=gateway,
            timeout=LIVE,
        )
        await self.live()

    async def to_the_beginning(self) -> None:
        """Load older pages until there are none."""
        older = self.tab.locator("[data-testid=older]")
        while await older.count():
            before = len((await self.shown()).rows)
            await older.click()
            await self.tab.wait_for_function(
                """before => document.querySelector('[data-testid=end]')
                   || document.querySelectorAll('[data-testid=transfer]').length >= before + 50""",
                arg=before,
                timeout=LIVE,
            )
