"""Page object of the overview: the watchlist, its totals, and what the browser reports about it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg
from playwright.async_api import Page, expect

from livebalance.stack.cluster import Cluster

_ROWS = """() => Object.fromEntries([...document.querySelectorAll('[data-watched]')].map(row => [
  row.dataset.watched,
  [row.dataset.state, row.querySelector('[data-amount]')?.dataset.amount ?? null, row.innerText]]))"""
_TOTALS = """() => [...document.querySelectorAll('[data-testid=total]')].map(({dataset, innerText}) =>
  [dataset.currency ?? null, dataset.amount, dataset.live === 'true', innerText])"""
# Each text that the live region gets, with its time in ms.
RECORD_ANNOUNCEMENTS = """() => {
  const region = document.querySelector('[role=status]');
  window.announcements = [];
  new MutationObserver(() => {
    if (region.textContent !== '') window.announcements.push([performance.now(), region.textContent]);
  }).observe(region, {characterData: true, childList: true, subtree: true});
}"""
LIVE_REGIONS = "[role=status], [role=log], [aria-live=polite]"


class WatchedRow(NamedTuple):
    state: str
    amount: str | None
    text: str


class Total(NamedTuple):
    currency: str | None
    amount: str
    live: bool
    text: str


def address(url: str, accounts: Sequence[str]) -> str:
    """Returns the address of the overview with a watchlist."""
    return f"{url}/#watch={','.join(accounts)}"


async def rows(tab: Page) -> dict[str, WatchedRow]:
    fields: dict[str, Any] = await tab.evaluate(_ROWS)
    return {account: WatchedRow(*row) for account, row in fields.items()}


async def totals(tab: Page) -> list[Total]:
    return [Total(*total) for total in await tab.evaluate(_TOTALS)]


async def wait_for_states(tab: Page, state: str, count: int) -> None:
    """Waits until this number of watched rows is in a state."""
    rows = tab.locator(f"[data-watched][data-state={state}]")
    await expect(rows).to_have_count(count)


async def sum_in_postgres(cluster: Cluster, accounts: Sequence[str]) -> Decimal:
    """Returns the sum of the balances of these accounts."""
    connection = await asyncpg.connect(cluster.postgres())
    try:
        query = "select sum(balance) from balance where account_id = any($1)"
        return Decimal(await connection.fetchval(query, list(accounts)))
    finally:
        await connection.close()


async def recent_balances(cluster: Cluster, account: str) -> list[str]:
    """Returns what the balance of an account was after each of its last 1,000 transfers."""
    connection = await asyncpg.connect(cluster.postgres())
    try:
        query = """select (opening + total)::text as balance from transfer join balance using (account_id)
                    where account_id = $1 order by transfer.revision desc limit 1000"""
        return [row["balance"] for row in await connection.fetch(query, account)]
    finally:
        await connection.close()
