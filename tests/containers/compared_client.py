"""Clients behind the balancer, compared with SQL: each balance by its revision, and every transfer."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from livebalance.client.event import Changed, Event
from livebalance.wire.identity import AccountId
from tests.acceptance.end_to_end.transfers_by_stage import first_difference
from tests.acceptance.upgrade.reconnecting_client import FirstShown, ReconnectingClient, running
from tests.containers.compose_project import ComposeProject

CLIENTS = 4
TIMEOUT = 240.0
_BALANCES = "select account_id, revision, balance from balances order by 1"
_TRANSFERS = "select account_id, revision, transfer_id, amount, total from transfers order by 1, 2"


class ComparedClient(ReconnectingClient):
    """Remembers which balance it showed at each revision."""

    def __init__(self, name: str, url: str, accounts: Sequence[AccountId], first_shown: FirstShown) -> None:
        super().__init__(name, url, accounts, self._fetch_token, first_shown)
        self._token_url = f"{url}/api/demo/token"
        self.balances: dict[tuple[str, int], str] = {}

    async def _fetch_token(self) -> str:
        try:
            async with httpx.AsyncClient() as http:
                answer = (await http.post(self._token_url)).raise_for_status()
        except httpx.HTTPError as error:
            raise OSError(str(error)) from error
        return str(json.loads(answer.content)["token"])

    def handle_event(self, event: Event) -> None:
        super().handle_event(event)
        if isinstance(event, Changed):
            account, balance = event.account, event.account.balance
            # While pages of a recovery arrive, the balance is older than the position.
            if balance and balance.revision == account.position.revision:
                self.balances[account.account, balance.revision] = balance.amount


@asynccontextmanager
async def running_clients(project: ComposeProject) -> AsyncIterator[list[ComparedClient]]:
    """Runs clients that follow all accounts."""
    accounts = [account for account, *_ in await _read_balances(project)]
    first_shown = FirstShown()
    clients = [
        ComparedClient(f"client-{number}", project.url, accounts, first_shown) for number in range(CLIENTS)
    ]
    async with running(clients, TIMEOUT):
        yield clients


async def wait_for_new_data(clients: Sequence[ComparedClient], deltas: int = 10) -> None:
    """Waits until each client has received so many deltas more than now."""
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*(client.wait_for_deltas(client.deltas + deltas) for client in clients))


async def compare(project: ComposeProject, clients: Sequence[ComparedClient]) -> None:
    """Asserts that the clients show what SQL has, to the cent and to the revision, and nothing twice."""
    await _compare_balances(project, clients)
    logs = {client.name: client.checked_logs() for client in clients}
    stored = await _read_transfers(project)  # after the logs: SQL is never behind a client
    for name, log_of_channel in logs.items():
        for channel, log in log_of_channel.items():
            shown = [
                (transfer.revision, transfer.id, transfer.amount, transfer.total)
                for transfer in log.transfers
            ]
            first = shown[0][0] if shown else 0
            rows = [row for row in stored[channel] if first <= row[0] <= log.revision]
            assert shown == rows, f"{name} {channel} {first_difference(shown, rows)}"


async def _compare_balances(project: ComposeProject, clients: Sequence[ComparedClient]) -> None:
    """Asserts equal balances until each client was compared in each account.

    A client may have merged the revision that SQL shows with a later one: then the next rows are compared.
    """
    missing = {(client.name, account) for client in clients for account in client.accounts}
    async with asyncio.timeout(TIMEOUT):
        while missing:
            rows = await _read_balances(project)
            revisions: dict[str, int] = {account: revision for account, revision, _ in rows}
            await asyncio.gather(*(client.wait_for_revisions(revisions) for client in clients))
            for client in clients:
                for account, revision, balance in rows:
                    shown = client.balances.get((account, revision), balance)
                    assert shown == balance, f"{client.name} {account}@{revision}: {shown}, SQL {balance}"
                    if (account, revision) in client.balances:
                        missing.discard((client.name, account))


async def _read_balances(project: ComposeProject) -> list[tuple[AccountId, int, str]]:
    rows = await asyncio.to_thread(project.query, _BALANCES)
    return [(AccountId(account), int(revision), balance) for account, revision, balance in rows]


async def _read_transfers(project: ComposeProject) -> dict[str, list[tuple[int, str, str, str]]]:
    """Returns (revision, id, amount, total) of each transfer, by channel."""
    stored: dict[str, list[tuple[int, str, str, str]]] = defaultdict(list)
    for account, revision, id_, amount, total in await asyncio.to_thread(project.query, _TRANSFERS):
        stored[f"account:{account}"].append((int(revision), id_, amount, total))
    return stored
