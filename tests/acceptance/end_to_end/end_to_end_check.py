"""The proof: whatever is killed, records fed = rows of SQL = the log of each client."""

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
from tests.acceptance.end_to_end.feed_process import feeding
from tests.acceptance.end_to_end.recording_client import Listener
from tests.acceptance.end_to_end.transfers_by_stage import (
    Log,
    Movement,
    Row,
    Run,
    Standing,
    first_difference,
    in_sql,
    standings,
    totalled,
)
from tests.tokens import token_source

POLL = 0.05  # seconds
WITNESS_EVERY = 0.1
JOINED_WITHIN = 20.0


class Proof:
    """A cluster under observation, by listeners of its own: one at each gateway, one at the balancer."""

    def __init__(self, cluster: Cluster, accounts: int, listeners: Sequence[Listener] = ()) -> None:
        self.cluster = cluster
        self.runs: list[Run] = []
        self.accounts = [account_id(n) for n in range(1, accounts + 1)]
        self.listeners = [*listeners] or self._at_each_door()
        self._at_door = {listener.name: listener for listener in self.listeners}
        self._forget()

    def _at_each_door(self) -> list[Listener]:
        doors = {f"gateway-{n}": url for n, url in enumerate(self.cluster.gateways, 1)}
        doors["balancer"] = self.cluster.page
        token = token_source(self.cluster.demo_secret)
        return [Listener(name, url, self.accounts, token) for name, url in doors.items()]

    # --- load and faults

    @asynccontextmanager
    async def feeding(self, seed: int, rate: float) -> AsyncIterator[None]:
        """Transfers a second, until the block ends; what Kafka has acknowledged of them is known then."""
        number = len(self.runs) + 1
        async with feeding(self.cluster, number, accounts=len(self.accounts), seed=seed, rate=rate) as feed:
            yield
        self.runs.append(feed.run)

    async def plant(self, name: str, *what: str) -> None:
        """From now on a projector is one with something done to it."""
        watch = self.cluster.supervisors[name]
        await watch.stop()
        watch.child.command = [sys.executable, "-m", projector_mutants.__name__, *what]
        watch.child.directory = PROJECT
        watch.start()

    def arm(self, name: str, point: str) -> None:
        """Have a running process kill itself at a named point; nobody starts it again after that."""
        self.cluster.supervisors[name].detach()
        order = order_of(self.cluster.paths, name)
        written = order.with_suffix(".new")
        written.write_text(point)
        written.rename(order)

    async def died(self, name: str, within: float) -> None:
        """Wait until it is dead by its own -9, and start it as ever."""
        watch, order = self.cluster.supervisors[name], order_of(self.cluster.paths, name)
        try:
            async with asyncio.timeout(within):
                while watch.child.pid is not None:  # noqa: ASYNC110 - a process tells nobody that it ended
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise AssertionError(f"{name} did not pass {order.read_text()}") from None
        assert watch.child.exit_code == -signal.SIGKILL, watch.child.tail()
        order.unlink()
        watch.start()

    async def visit(self, gateway: str, within: float) -> None:
        """One more client follows every account there, until it is answered or the gateway is dead.

        One of them nobody follows: of the others the gateway remembers enough, and asks Postgres for nothing.
        """
        unknown = AccountId("nobody")
        async with (
            Client(self._at_door[gateway].url, token=token_source(self.cluster.demo_secret)) as visitor,
            asyncio.timeout(within),
        ):
            for name in (*self.accounts, unknown):
                visitor.follow(name)
            async for event in visitor.events():
                if isinstance(event, Disconnected) or (
                    isinstance(event, Changed) and event.frame.channel == channel_name(unknown)
                ):
                    return

    @asynccontextmanager
    async def reconnecting(self, gateway: str, within: float) -> AsyncIterator[None]:
        """The gateway dies in the block; at its end its own client has found it again."""
        listener = self._at_door[gateway]
        times = listener.connections + 1
        yield
        async with asyncio.timeout(within):
            await listener.connected(times)

    async def delivered(self, deltas: int, within: float) -> None:
        """Wait until every listener was sent so many more."""
        wanted = {listener.name: listener.deltas + deltas for listener in self.listeners}
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(
                    *(listener.receive(wanted[listener.name]) for listener in self.listeners)
                )
        except TimeoutError:
            counts = {listener.name: listener.deltas for listener in self.listeners}
            raise AssertionError(f"not delivered after {within} s: {wanted} wanted, {counts} came") from None

    async def stopped(self, name: str, within: float) -> None:
        """Wait until a process has stopped itself (SIGSTOP)."""
        process = psutil.Process(self.cluster.supervisors[name].child.pid)
        async with asyncio.timeout(within):
            while process.status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110 - nor that it stopped
                await asyncio.sleep(POLL)

    async def overtaken(self, name: str, within: float) -> None:
        """Wait until no lane is a projector's any more."""
        async with self._sql() as sql, asyncio.timeout(within):
            while await sql.fetchval("select count(*) from lane where owner = $1", name):  # noqa: ASYNC110
                await asyncio.sleep(POLL)

    # --- what must hold

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Listens, and sees all the while that no client shows what is not in SQL."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(listener.listen()) for listener in self.listeners]
            tasks.append(group.create_task(self._witness()))
            async with asyncio.timeout(JOINED_WITHIN):
                await asyncio.gather(*(listener.joined() for listener in self.listeners))
            yield
            for task in tasks:
                task.cancel()

    async def _witness(self) -> None:
        """Nothing invented: a position that a client has now is one that SQL has a moment later."""
        async with self._sql() as sql:
            while True:
                shown = [(listener.name, listener.revisions()) for listener in self.listeners]
                stored = {row.account: row.revision for row in await standings(sql)}
                for name, revisions in shown:
                    ahead = {a: r for a, r in revisions.items() if r > stored.get(a, 0)}
                    assert not ahead, f"{name} shows what SQL does not have: {ahead}, {stored}"
                await asyncio.sleep(WITNESS_EVERY)

    async def settled(self, within: float) -> list[Standing]:
        """Wait until SQL has all that was fed, verified, and every client is where SQL is."""
        wanted = sum(2 * run.transfers for run in self.runs)
        async with self._sql() as sql:
            try:
                async with asyncio.timeout(within):
                    while not _complete(rows := await standings(sql), wanted):  # noqa: ASYNC110 - nor do rows
                        await asyncio.sleep(POLL)
                    at = {row.account: row.revision for row in rows}
                    await asyncio.gather(*(listener.reach(at) for listener in self.listeners))
            except TimeoutError:
                raise AssertionError(
                    f"not settled after {within} s: {wanted} fed, SQL {await standings(sql)}, clients"
                    f" {[(one.name, one.revisions()) for one in self.listeners]}"
                ) from None
        return rows

    async def compare(self, rows: Sequence[Standing]) -> None:
        """Records fed = Kafka = rows of SQL = each client's log: ids, amounts, order, totals, balances.

        What was compared before is not compared again, unless `compare_again`.
        """
        async with self._sql() as sql:
            stored = await in_sql(sql, {name: last.revision for name, last in self._last.items()})
        self._compare_sql(self._fed(), await self._log.new(), stored)
        _conserved(rows)
        for listener in self.listeners:
            assert not listener.odd_snapshots, f"{listener.name} was reset: {listener.odd_snapshots[:1]}"
            self._compare_log(listener, stored, rows)
        for name, new in stored.items():
            self._last[name] = new[-1]
            self._compared[name] = self._compared.get(name, 0) + len(new)
        self._runs_compared = len(self.runs)

    async def compare_again(self, rows: Sequence[Standing]) -> None:
        """From the beginning of everything."""
        self._forget()
        await self.compare(rows)

    def _forget(self) -> None:
        self._log = Log(self.cluster.kafka, self.cluster.plan.topics)
        self._runs_compared = 0
        self._last: dict[str, Row] = {}
        self._compared: dict[str, int] = {}

    def _fed(self) -> dict[str, list[Movement]]:
        fed: dict[str, list[Movement]] = {}
        for run in self.runs[self._runs_compared :]:
            for name, movements in run.movements().items():
                fed.setdefault(name, []).extend(movements)
        return fed

    def _compare_sql(
        self, fed: dict[str, list[Movement]], kafka: dict[str, list[Movement]], stored: dict[str, list[Row]]
    ) -> None:
        assert fed.keys() == kafka.keys() == stored.keys()
        for name, movements in fed.items():
            assert movements == kafka[name], f"{name} fed/Kafka {first_difference(movements, kafka[name])}"
            before = self._last[name].total if name in self._last else "0"
            expected, found = totalled(movements, before), [row[1:] for row in stored[name]]
            assert expected == found, f"{name} Kafka/SQL {first_difference(expected, found)}"

    def _compare_log(
        self, listener: Listener, stored: dict[str, list[Row]], rows: Sequence[Standing]
    ) -> None:
        ledgers = listener.ledgers()
        for row in (row for row in rows if row.account in listener.accounts):
            ledger = ledgers[f"account:{row.account}"]
            log = [
                Row(t.revision, t.id, t.amount, t.total)
                for t in ledger.transfers[self._compared.get(row.account, 0) :]
            ]
            expected = stored.get(row.account, [])
            assert log == expected, f"{listener.name} {row.account} log/SQL {first_difference(log, expected)}"
            assert (ledger.revision, ledger.balance and ledger.balance.amount) == (row.revision, row.balance)

    @asynccontextmanager
    async def _sql(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.cluster.postgres("owner"))
        try:
            yield connection
        finally:
            with contextlib.suppress(OSError):
                await connection.close(timeout=5)


def order_of(paths: StatePaths, name: str) -> Path:
    """The file that tells a process of a cluster where to die."""
    return paths.directory("orders") / name


def _complete(rows: Sequence[Standing], wanted: int) -> bool:
    """All transfers are listed, and each account's balance names its last one."""
    return sum(row.listed for row in rows) == wanted and all(row.version == row.listed for row in rows)


def _conserved(rows: Sequence[Standing]) -> None:
    """At rest nothing drifts, nothing is half applied, and money has only moved."""
    for row in rows:
        assert float(row.drift or "nan") == float(row.half_applied or "nan") == 0, row
    assert sum(int(row.posted.replace(".", "")) for row in rows) == 0, rows
