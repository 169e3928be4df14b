"""A hot standby of an embedded Postgres, on the same machine."""

import asyncio
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

from livebalance.readmodel.connection import Connection
from livebalance.stack.build.jars import ProgressCallback, no_progress
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.postgres import _BIN, PostgresServer

_READY = "ready to accept read-only connections"


class Standby(PostgresServer):
    """A standby that replicates the server at `primary`, a URL of the owner."""

    def __init__(self, paths: StatePaths, primary: str) -> None:
        super().__init__(paths)
        self._primary = primary

    def prepare(self, progress: ProgressCallback = no_progress) -> None:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._data.parent, nobody.pw_uid, nobody.pw_gid)
        copy = ["--checkpoint=fast", "--no-sync", "--write-recovery-conf", f"--pgdata={self._data}"]
        self._run("standby-copy", [f"{_BIN}/pg_basebackup", f"--dbname={self._primary}", *copy])

    def ready(self) -> None:
        self.child.wait_for(_READY, 60)


async def promote(connection: Connection) -> None:
    """Promotes the standby of `connection`, of an owner, and waits until it can be written.

    `pg_promote` may not wait itself: its session would hold a snapshot all the while, and replay, which must
    end first, waits for the snapshots that it conflicts with.
    """
    await connection.fetch("select pg_promote(wait => false)")
    async with asyncio.timeout(30):
        while await connection.fetchval("select pg_is_in_recovery()"):  # noqa: ASYNC110 - SQL has no event
            await asyncio.sleep(0.02)


@contextmanager
def running_standby(paths: StatePaths, primary: str) -> Iterator[Standby]:
    """Runs a standby until the end of the block. It is ready to be read at the start."""
    standby = Standby(paths, primary)
    standby.prepare()
    standby.start()
    try:
        standby.ready()
        yield standby
    finally:
        standby.stop()
