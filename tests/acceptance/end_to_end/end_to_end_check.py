"""The end-to-end check: whatever is killed, records fed = rows in Postgres = the log of each client."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil

from livebalance.client.client import Client
from livebalance.client.event import Changed, Disconnected
from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import PROJECT, StatePaths
from livebalance.wire.identity import AccountId, channel_name
from tests.acceptance.end_to_end import projector_mutants
from tests.acceptance.end_to_end.feed_process import run_feed
from tests.acceptance.end_to_end.recording_client import RecordingClient
from tests.acceptance.end_to_end.transfers_by_stage import (
    AccountRow,
    FeedRun,
    Posting,
    TransferRow,
    TransfersTopic,
    add_totals,
    first_difference,
    read_account_rows,
    read_transfer_rows,
)
from tests.tokens import token_source

POLL = 0.05  # seconds
CLIENT_CHECK_INTERVAL = 0.1
SUBSCRIBE_TIMEOUT = 60.0


class EndToEndCheck:
    """Feeds a cluster, injects faults, and compares all stages at the end.

    Without `clients` it makes a client at each gateway, and a client at the balancer. Each parameter `within`
    is a timeout in seconds.
    """

    def __init__(self, cluster: Cluster, accounts: int, clients: Sequence[RecordingClient] = ()) -> None:
        self.cluster = cluster
        self.runs: list[FeedRun] = []
        self.accounts = [account_id(n) for n in range(1, accounts + 1)]
        self.clients = [*clients] or self._default_clients()
        self._clients_by_name = {client.name: client for client in self.clients}
        self._reset_comparison()

    def _default_clients(self) -> list[RecordingClient]:
        urls = {f"gateway-{n}": url for n, url in enumerate(self.cluster.gateways, 1)}
        urls["balancer"] = self.cluster.page
        token = token_source(self.cluster.demo_secret)
        return [RecordingClient(name, url, self.accounts, token) for name, url in urls.items()]

    # --- load and faults

    @asynccontextmanager
    async def feeding(self, seed: int, rate: float) -> AsyncIterator[None]:
        """Runs a feed of `rate` transfers per second while the block runs, and notes its acknowledged run."""
        number = len(self.runs) + 1
        async with run_feed(self.cluster, number, accounts=len(self.accounts), seed=seed, rate=rate) as feed:
            yield
        self.runs.append(feed.run)

    async def start_mutants(self, name: str, *mutants: str) -> None:
        """Restarts a projector as a mutant. See projector_mutants."""
        supervisor = self.cluster.supervisors[name]
        await supervisor.stop()
        supervisor.child.command = [sys.executable, "-m", projector_mutants.__name__, *mutants]
        supervisor.child.directory = PROJECT
        supervisor.start()

    def set_failpoint(self, name: str, failpoint: str) -> None:
        """Makes a running process kill itself at a failpoint. Its supervisor does not restart it then."""
        self.cluster.supervisors[name].detach()
        path = failpoint_file(self.cluster.paths, name)
        unfinished = path.with_suffix(".new")
        unfinished.write_text(failpoint)
        unfinished.rename(path)

    async def restart_after_failpoint(self, name: str, within: float) -> None:
        """Waits until a process has died at its failpoint, and starts it again without."""
        supervisor, path = self.cluster.supervisors[name], failpoint_file(self.cluster.paths, name)
        try:
            async with asyncio.timeout(within):
                while supervisor.child.pid is not None:  # noqa: ASYNC110 - no event to await
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise AssertionError(f"{name} did not pass {path.read_text()}") from None
        assert supervisor.child.exit_code == -signal.SIGKILL, supervisor.child.tail()
        path.unlink()
        supervisor.start()

    async def subscribe_new_client(self, gateway: str, within: float) -> None:
        """Subscribes another client to every account, and waits for its answer or for the gateway's death.

        It also subscribes to an unknown account, so that the gateway has to read Postgres: for every other
        account its history may suffice.
        """
        unknown = AccountId("nobody")
        url, token = self._clients_by_name[gateway].url, token_source(self.cluster.demo_secret)
        async with Client(url, token=token) as client, asyncio.timeout(within):
            for account in (*self.accounts, unknown):
                client.follow(account)
            async for event in client.events():
                if isinstance(event, Disconnected) or (
                    isinstance(event, Changed) and event.frame.channel == channel_name(unknown)
                ):
                    return

    @asynccontextmanager
    async def expect_reconnect(self, gateway: str, within: float) -> AsyncIterator[None]:
        """Waits, after a block that kills a gateway, until that gateway's client has reconnected."""
        client = self._clients_by_name[gateway]
        connections = client.connections + 1
        yield
        async with asyncio.timeout(within):
            await client.wait_for_connections(connections)

    async def wait_for_deltas(self, count: int, within: float) -> None:
        """Waits until every client has received `count` more deltas."""
        wanted = {client.name: client.deltas + count for client in self.clients}
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(
                    *(client.wait_for_deltas(wanted[client.name]) for client in self.clients)
                )
        except TimeoutError:
            received = {client.name: client.deltas for client in self.clients}
            raise AssertionError(f"not delivered after {within} s: {wanted=}, {received=}") from None

    async def wait_until_paused(self, name: str, within: float) -> None:
        """Waits until a process has stopped itself with SIGSTOP."""
        process = psutil.Process(self.cluster.supervisors[name].child.pid)
        async with asyncio.timeout(within):
            while process.status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(POLL)

    async def wait_until_lanes_are_lost(self, name: str, within: float) -> None:
        """Waits until a projector owns no lane any more."""
        async with self._postgres() as postgres, asyncio.timeout(within):
            while await postgres.fetchval("select count(*) from lane where owner = $1", name):  # noqa: ASYNC110
                await asyncio.sleep(POLL)

    # --- what must hold

    @asynccontextmanager
    async def running_clients(self) -> AsyncIterator[None]:
        """Runs all clients, and asserts all the while that none shows more than Postgres has."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.run()) for client in self.clients]
            tasks.append(group.create_task(self._assert_clients_not_ahead()))
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT):
                await asyncio.gather(*(client.wait_until_subscribed() for client in self.clients))
            yield
            for task in tasks:
                task.cancel()

    async def _assert_clients_not_ahead(self) -> None:
        """Asserts repeatedly that Postgres has every revision that a client showed a moment before."""
        async with self._postgres() as postgres:
            while True:
                shown = [(client.name, client.revisions()) for client in self.clients]
                stored = {row.account: row.revision for row in await read_account_rows(postgres)}
                for name, revisions in shown:
                    ahead = {
                        account: revision
                        for account, revision in revisions.items()
                        if revision > stored.get(account, 0)
                    }
                    assert not ahead, f"{name} shows what Postgres does not have: {ahead}, {stored}"
                await asyncio.sleep(CLIENT_CHECK_INTERVAL)

    async def wait_until_complete(self, within: float) -> list[AccountRow]:
        """Waits until Postgres has all that was fed and verified it, and every client has its revisions."""
        wanted = sum(2 * run.transfers for run in self.runs)
        async with self._postgres() as postgres:
            try:
                async with asyncio.timeout(within):
                    while not _is_complete(rows := await read_account_rows(postgres), wanted):  # noqa: ASYNC110
                        await asyncio.sleep(POLL)
                    revisions = {row.account: row.revision for row in rows}
                    await asyncio.gather(*(client.wait_for_revisions(revisions) for client in self.clients))
            except TimeoutError:
                raise AssertionError(
                    f"not complete after {within} s: {wanted} fed, Postgres"
                    f" {await read_account_rows(postgres)}, clients"
                    f" {[(client.name, client.revisions()) for client in self.clients]}"
                ) from None
        return rows

    async def compare(self, rows: Sequence[AccountRow]) -> None:
        """Asserts that the feed, Kafka, Postgres and each client agree on all transfers since the last call.

        They must agree on ids, amounts, order, totals and balances.
        """
        async with self._postgres() as postgres:
            last_revisions = {account: row.revision for account, row in self._last_rows.items()}
            stored = await read_transfer_rows(postgres, last_revisions)
        self._compare_stages(self._fed(), await self._topic.read_new(), stored)
        _assert_money_conserved(rows)
        for client in self.clients:
            snapshots = client.recovery_snapshots
            assert not snapshots, f"{client.name} was reset: {snapshots[:1]}"
            self._compare_client(client, stored, rows)
        for account, new_rows in stored.items():
            self._last_rows[account] = new_rows[-1]
            self._compared[account] = self._compared.get(account, 0) + len(new_rows)
        self._runs_compared = len(self.runs)

    async def compare_all(self, rows: Sequence[AccountRow]) -> None:
        """Compares everything since the cluster started."""
        self._reset_comparison()
        await self.compare(rows)

    def _reset_comparison(self) -> None:
        self._topic = TransfersTopic(self.cluster.kafka, self.cluster.plan.topics)
        self._runs_compared = 0
        self._last_rows: dict[str, TransferRow] = {}
        self._compared: dict[str, int] = {}

    def _fed(self) -> dict[str, list[Posting]]:
        fed: dict[str, list[Posting]] = {}
        for run in self.runs[self._runs_compared :]:
            for account, postings in run.postings().items():
                fed.setdefault(account, []).extend(postings)
        return fed

    def _compare_stages(
        self,
        fed: dict[str, list[Posting]],
        kafka: dict[str, list[Posting]],
        stored: dict[str, list[TransferRow]],
    ) -> None:
        assert fed.keys() == kafka.keys() == stored.keys()
        for account, postings in fed.items():
            assert postings == kafka[account], (
                f"{account} fed/Kafka {first_difference(postings, kafka[account])}"
            )
            total = self._last_rows[account].total if account in self._last_rows else "0"
            expected, actual = add_totals(postings, total), [row[1:] for row in stored[account]]
            assert expected == actual, f"{account} Kafka/Postgres {first_difference(expected, actual)}"

    def _compare_client(
        self, client: RecordingClient, stored: dict[str, list[TransferRow]], rows: Sequence[AccountRow]
    ) -> None:
        logs = client.checked_logs()
        for row in (row for row in rows if row.account in client.accounts):
            log = logs[f"account:{row.account}"]
            transfers = [
                TransferRow(transfer.revision, transfer.id, transfer.amount, transfer.total)
                for transfer in log.transfers[self._compared.get(row.account, 0) :]
            ]
            expected = stored.get(row.account, [])
            assert transfers == expected, (
                f"{client.name} {row.account} log/Postgres {first_difference(transfers, expected)}"
            )
            assert (log.revision, log.balance and log.balance.amount) == (row.revision, row.balance)

    @asynccontextmanager
    async def _postgres(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.cluster.postgres("owner"))
        try:
            yield connection
        finally:
            with contextlib.suppress(OSError):
                await connection.close(timeout=5)


def failpoint_file(paths: StatePaths, name: str) -> Path:
    """Returns the path of the file from which a process of a cluster reads its failpoint."""
    return paths.directory("failpoints") / name


def _is_complete(rows: Sequence[AccountRow], transfers: int) -> bool:
    """Returns whether all transfers are stored, and each account's balance names its last transfer."""
    return sum(row.transfer_count for row in rows) == transfers and all(
        row.version == row.transfer_count for row in rows
    )


def _assert_money_conserved(rows: Sequence[AccountRow]) -> None:
    """Asserts that nothing drifts or is half applied, and that the totals of all accounts sum to zero."""
    for row in rows:
        assert float(row.drift or "nan") == float(row.half_applied or "nan") == 0, row
    assert sum(int(row.posted_total.replace(".", "")) for row in rows) == 0, rows
