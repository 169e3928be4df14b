"""docs/operations.md to the letter: Postgres is put back to an older state, or fails over, and all is right.

Each time transfers go on while it happens, and commits are lost that clients have seen.
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
from tests.acceptance.end_to_end.end_to_end_check import Proof

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

RATE = 50  # transfers a second
GUIDE = (PROJECT / "docs" / "operations.md").read_text()
READERS = ("projector-1", "projector-2", "gateway-1", "gateway-2")
AS_STANDBY = "--write-recovery-conf"


def commands(heading: str) -> list[str]:
    """The blocks that an operator types there, in order."""
    part = GUIDE.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


class Drill:
    """A cluster under load whose PostgresServer is replaced."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.proof = Proof(cluster, ACCOUNTS)

    async def typed(self, text: str, server: PostgresServer | None = None) -> str:
        """What an operator sees who types this; an error is shown whole."""
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

    def server(self, name: str, data: str | None = None) -> PostgresServer:
        """Another one, empty or with this directory as its data; not started."""
        paths = StatePaths(self.cluster.paths.home, self.cluster.paths.state / name)
        other = PostgresServer(paths, durable=False)
        if data is not None:
            home = paths.directory("postgres")
            shutil.move(self.directory / data, home / "data")
            (home / "made").touch()  # the database is in it
            if os.geteuid() == 0:  # Postgres runs as another user then
                shutil.chown(home, "nobody")
                for path in (home / "data", *(home / "data").rglob("*")):
                    shutil.chown(path, "nobody")
        other.prepare()
        return other

    async def lose(self) -> None:
        """Projectors and gateways are stopped, and PostgresServer is gone."""
        await asyncio.gather(*(self.cluster.supervisors[name].stop() for name in READERS))
        self.cluster.supervisors["postgres"].kill(restart=False)

    def move(self, server: PostgresServer) -> None:
        """It is the cluster's Postgres from now on."""
        self.cluster._servers.managed["postgres"] = self.cluster._servers.embedded["postgres"] = server
        self.cluster.supervisors["postgres"] = Supervisor(server.child, print)

    def serve(self, address: str = "") -> None:
        """Projectors and gateways start; `address`: hosts, database and all that follows."""
        for name in READERS:
            role = name.partition("-")[0]
            url = f"postgresql://{role}@{address}" if address else self.cluster.postgres(role)
            self.cluster.supervisors[name].start({"LIVEBALANCE_POSTGRES": url})

    async def ask(self, query: str) -> str:
        connection = await asyncpg.connect(self.cluster.postgres("owner"), timeout=10)
        try:
            return str(await connection.fetchval(query))
        finally:
            await connection.close()

    async def is_right(self) -> None:
        """Fed = Kafka = SQL; and each client, told so by a snapshot of a new epoch, shows the same."""
        rows = await self.proof.settled(within=60)
        heard, self.proof.listeners = self.proof.listeners, []  # a snapshot leaves out what is old
        await self.proof.compare_again(rows)
        self.proof.listeners = heard
        for listener in heard:
            told = {(one.reason, one.channel) for one in listener.odd_snapshots}
            assert told == {("epoch", f"account:{row.account}") for row in rows}
            ledgers = listener.ledgers()
            for row in rows:
                ledger = ledgers[f"account:{row.account}"]
                assert (ledger.revision, ledger.balance and ledger.balance.amount) == (
                    row.revision,
                    row.balance,
                )
            listener.odd_snapshots.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def drill(new_cluster: NewCluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Drill]:
    async with new_cluster() as cluster, asyncio.TaskGroup() as group:
        drill = Drill(cluster, tmp_path_factory.mktemp("operator"))
        listeners = drill.proof.listeners
        tasks = [group.create_task(listener.listen()) for listener in listeners]
        async with asyncio.timeout(20):
            await asyncio.gather(*(listener.joined() for listener in listeners))
        yield drill
        for task in tasks:
            task.cancel()


async def test_a_dump(drill: Drill) -> None:
    save, restore = commands("A dump")
    async with drill.proof.feeding(1, RATE):
        await drill.proof.delivered(20, within=30)
        await drill.typed(save)
        await drill.proof.delivered(100, within=30)
        await drill.lose()
        fresh = drill.server("from-a-dump")
        fresh.start()
        await asyncio.to_thread(fresh.ready)
        said = await drill.typed(restore, fresh)
        drill.move(fresh)
        drill.serve()
        await drill.proof.delivered(20, within=60)
    await drill.is_right()
    epoch = await drill.ask("select epoch from projection")
    assert f"is {epoch} now" in said  # and nobody has ended it again
    assert await drill.ask("select why from intervention") == "restored the dump of last night"


async def test_a_copy_of_the_server(drill: Drill) -> None:
    save, bump = commands("A copy of the server")
    async with drill.proof.feeding(2, RATE):
        await drill.proof.delivered(20, within=30)
        await drill.typed(save)
        await drill.proof.delivered(100, within=30)
        await drill.lose()
        copy = drill.server("from-a-copy", "copy")
        copy.start()
        await asyncio.to_thread(copy.ready)
        drill.move(copy)
        assert await drill.ask("select known from truth") == "True"  # nothing tells it from the one it was
        said = await drill.typed(bump)
        drill.serve()
        await drill.proof.delivered(20, within=60)
    await drill.is_right()
    assert f"is {await drill.ask('select epoch from projection')} now" in said


async def test_a_standby_that_lacks_commits_is_promoted(drill: Drill) -> None:
    """Nobody tells the services: their address names both servers."""
    (save, _), old = commands("A copy of the server"), drill.cluster._servers.embedded["postgres"]
    await drill.typed(save.replace("pg_basebackup", f"pg_basebackup {AS_STANDBY}"))
    standby = drill.server("standby", "copy")
    standby.start()
    await asyncio.to_thread(standby.child.wait_for, "ready to accept read-only connections", 30)
    both = f"127.0.0.1:{old.port},127.0.0.1:{standby.port}/livebalance?target_session_attrs=primary"
    before = await drill.ask("select epoch from projection")
    await asyncio.gather(*(drill.cluster.supervisors[name].stop() for name in READERS))
    drill.serve(both)
    async with drill.proof.feeding(3, RATE):
        await drill.proof.delivered(20, within=60)
        standby.child.kill()
        await drill.proof.delivered(100, within=30)
        drill.cluster.supervisors["postgres"].kill(restart=False)
        standby.child.start()
        await asyncio.to_thread(standby.child.wait_for, "ready to accept read-only connections", 30)
        drill.move(standby)
        await drill.ask("select pg_promote(wait => false)")  # to wait would be to stand in its way
        await drill.proof.delivered(20, within=60)
    await drill.is_right()
    assert await drill.ask("select epoch from projection") != before
