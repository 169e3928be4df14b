"""An export costs the primary nothing when it is taken from a standby."""

from pathlib import Path

import asyncpg

from livebalance.readmodel.migrate import migrate
from livebalance.stack.paths import StatePaths
from tests.integration.cli.operator import said
from tests.integration.readmodel.ledger import FILL
from tests.servers.disposable import disposable_servers
from tests.standby import Standby


async def test_a_standby_gives_what_the_primary_does(paths: StatePaths, tmp_path: Path) -> None:
    with disposable_servers(StatePaths(paths.home, tmp_path / "primary"), "postgres") as primary:
        await migrate(primary.postgres())
        owner = await asyncpg.connect(primary.postgres())
        await owner.execute(FILL)
        await owner.close()
        standby = Standby(StatePaths(paths.home, tmp_path / "standby"), primary.postgres())
        standby.prepare()
        standby.start()
        try:
            standby.ready()
            url = primary.postgres("analyst")
            told = [
                await said({"LIVEBALANCE_POSTGRES": one, "TERM": "dumb"}, "export", "transfers")
                for one in (url, url.replace(str(primary.managed["postgres"].port), str(standby.port)))
            ]
        finally:
            standby.stop()
    assert [one.code for one in told] == [0, 0]
    assert told[0].out == told[1].out
    assert told[0].out.count("\n") == 8
