"""Restore and failover of Postgres, by the commands of docs/operations.md: all stages are equal afterwards.

A feed runs meanwhile, and Postgres loses commits whose deltas clients have received.
"""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import PROJECT, StatePaths
from livebalance.stack.process.supervisor import Supervisor
from livebalance.stack.servers import postgres
from livebalance.stack.servers.postgres import PostgresServer
from tests.acceptance.end_to_end.conftest import ACCOUNTS, NewCluster
from tests.acceptance.end_to_end.end_to_end_check import EndToEndCheck

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

RATE = 50  # transfers per second
GUIDE = (PROJECT / "docs" / "operations.md").read_text()
POSTGRES_CLIENTS = ("projector-1", "projector-2", "gateway-1", "gateway-2")


def commands(heading: str) -> list[str]:
    """Returns the shell blocks below a heading of the guide, in order."""
    section = GUIDE.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


class RestoreDrill:
    """A cluster whose Postgres server is replaced while a feed runs."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.check = EndToEndCheck(cluster, ACCOUNTS)

    async def run_shell(self, text: str, server: PostgresServer | None = None) -> str:
        """Runs shell commands against a server, the cluster's by default, and returns what they print.

        If they fail, the AssertionError has their whole output.
        """
        port = server.port if server else self.cluster._servers.managed["postgres"].port
        path = [str(postgres._BIN), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = {
            "PATH": os.pathsep.join(path),
            "SERVER": f"postgresql://owner@127.0.0.1:{port}",
            "LIVEBALANCE_POSTGRES": f"postgresql://operator@127.0.0.1:{port}/livebalance",
        }
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", text),
            cwd=self.directory,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, out.decode()
        return out.decode()

    def prepare_server(self, name: str, data: str | None = None) -> PostgresServer:
        """Returns a new server that is not started yet. `data` names a directory to use as its data."""
        paths = StatePaths(self.cluster.paths.home, self.cluster.paths.state / name)
        server = PostgresServer(paths, durable=False)
        if data is not None:
            home = paths.directory("postgres")
            shutil.move(self.directory / data, home / "data")
            (home / "made").touch()  # the marker of PostgresServer that the database exists
            if os.geteuid() == 0:  # Postgres runs as another user then
                shutil.chown(home, "nobody")
                for path in (home / "data", *(home / "data").rglob("*")):
                    shutil.chown(path, "nobody")
        server.prepare()
        return server

    async def lose_postgres(self) -> None:
        """Stops projectors and gateways, and kills Postgres."""
        await asyncio.gather(*(self.cluster.supervisors[name].stop() for name in POSTGRES_CLIENTS))
        self.cluster.supervisors["postgres"].kill(restart=False)

    def use_server(self, server: PostgresServer) -> None:
        """Makes `server` the cluster's Postgres."""
        self.cluster._servers.managed["postgres"] = self.cluster._servers.embedded["postgres"] = server
        self.cluster.supervisors["postgres"] = Supervisor(server.child, print)

    def start_postgres_clients(self, address: str = "") -> None:
        """Starts projectors and gateways. `address` is their URL after `@`, by default the cluster's."""
        for name in POSTGRES_CLIENTS:
            role = name.partition("-")[0]
            url = f"postgresql://{role}@{address}" if address else self.cluster.postgres(role)
            self.cluster.supervisors[name].start({"LIVEBALANCE_POSTGRES": url})

    async def fetch_value(self, query: str) -> str:
        connection = await asyncpg.connect(self.cluster.postgres("owner"), timeout=30)
        try:
            return str(await connection.fetchval(query))
        finally:
            await connection.close()

    async def assert_consistent(self) -> None:
        """Asserts that feed, Kafka and Postgres are equal, and that each client got snapshots of a new epoch.

        The clients' logs are compared by revision and balance only: a snapshot omits old transfers.
        """
        rows = await self.check.wait_until_complete(within=60)
        clients, self.check.clients = self.check.clients, []
        await self.check.compare_all(rows)
        self.check.clients = clients
        for client in clients:
            snapshots = {(snapshot.reason, snapshot.channel) for snapshot in client.recovery_snapshots}
            assert snapshots == {("epoch", f"account:{row.account}") for row in rows}
            logs = client.checked_logs()
            for row in rows:
                log = logs[f"account:{row.account}"]
                assert (log.revision, log.balance and log.balance.amount) == (row.revision, row.balance)
            client.recovery_snapshots.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def drill(
    new_cluster: NewCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RestoreDrill]:
    async with new_cluster() as cluster, asyncio.TaskGroup() as group:
        drill = RestoreDrill(cluster, tmp_path_factory.mktemp("operator"))
        clients = drill.check.clients
        tasks = [group.create_task(client.run()) for client in clients]
        async with asyncio.timeout(30):
            await asyncio.gather(*(client.wait_until_subscribed() for client in clients))
        yield drill
        for task in tasks:
            task.cancel()


async def test_restored_dump_is_caught_up_in_a_new_epoch(drill: RestoreDrill) -> None:
    dump, restore = commands("A dump")
    async with drill.check.feeding(1, RATE):
        await drill.check.wait_for_deltas(20, within=60)
        await drill.run_shell(dump)
        await drill.check.wait_for_deltas(100, within=60)
        await drill.lose_postgres()
        restored = drill.prepare_server("from-a-dump")
        restored.start()
        await asyncio.to_thread(restored.ready)
        output = await drill.run_shell(restore, restored)
        drill.use_server(restored)
        drill.start_postgres_clients()
        await drill.check.wait_for_deltas(20, within=60)
    await drill.assert_consistent()
    epoch = await drill.fetch_value("select epoch from projection")
    assert f"is {epoch} now" in output  # no projector has ended this epoch
    assert await drill.fetch_value("select why from intervention") == "restored the dump of last night"


async def test_restored_copy_of_the_server_is_caught_up_in_a_new_epoch(drill: RestoreDrill) -> None:
    copy, bump = commands("A copy of the server")
    async with drill.check.feeding(2, RATE):
        await drill.check.wait_for_deltas(20, within=60)
        await drill.run_shell(copy)
        await drill.check.wait_for_deltas(100, within=60)
        await drill.lose_postgres()
        restored = drill.prepare_server("from-a-copy", "copy")
        restored.start()
        await asyncio.to_thread(restored.ready)
        drill.use_server(restored)
        # A copy has the identity of the original server, so only the operator's command ends the epoch.
        assert await drill.fetch_value("select known from truth") == "True"
        output = await drill.run_shell(bump)
        drill.start_postgres_clients()
        await drill.check.wait_for_deltas(20, within=60)
    await drill.assert_consistent()
    assert f"is {await drill.fetch_value('select epoch from projection')} now" in output


async def test_promoted_standby_without_the_last_commits_is_caught_up_in_a_new_epoch(
    drill: RestoreDrill,
) -> None:
    """No service is reconfigured: their address names both servers."""
    copy, _ = commands("A copy of the server")
    old = drill.cluster._servers.embedded["postgres"]
    await drill.run_shell(copy.replace("pg_basebackup", "pg_basebackup --write-recovery-conf"))
    standby = drill.prepare_server("standby", "copy")
    standby.start()
    await asyncio.to_thread(standby.child.wait_for, "ready to accept read-only connections", 30)
    both = f"127.0.0.1:{old.port},127.0.0.1:{standby.port}/livebalance?target_session_attrs=primary"
    epoch_before = await drill.fetch_value("select epoch from projection")
    await asyncio.gather(*(drill.cluster.supervisors[name].stop() for name in POSTGRES_CLIENTS))
    drill.start_postgres_clients(both)
    async with drill.check.feeding(3, RATE):
        await drill.check.wait_for_deltas(20, within=60)
        standby.child.kill()
        await drill.check.wait_for_deltas(100, within=60)
        drill.cluster.supervisors["postgres"].kill(restart=False)
        standby.child.start()
        await asyncio.to_thread(standby.child.wait_for, "ready to accept read-only connections", 30)
        drill.use_server(standby)
        # Does not wait, because waiting would keep this session open during the promotion.
        await drill.fetch_value("select pg_promote(wait => false)")
        await drill.check.wait_for_deltas(20, within=60)
    await drill.assert_consistent()
    assert await drill.fetch_value("select epoch from projection") != epoch_before
