"""An export from a standby."""

from pathlib import Path

import asyncpg

from livebalance.readmodel.migrate import migrate
from livebalance.stack.paths import StatePaths
from tests.integration.cli.command_line import run_command
from tests.integration.readmodel.sample_accounts import FILL
from tests.servers.disposable import disposable_servers
from tests.servers.standby import running_standby


async def test_export_from_standby_equals_export_from_primary(paths: StatePaths, tmp_path: Path) -> None:
    with disposable_servers(StatePaths(paths.home, tmp_path / "primary"), "postgres") as primary:
        await migrate(primary.postgres())
        owner = await asyncpg.connect(primary.postgres())
        await owner.execute(FILL)
        await owner.close()
        with running_standby(StatePaths(paths.home, tmp_path / "standby"), primary.postgres()) as standby:
            url = primary.postgres("analyst")
            results = [
                await run_command({"LIVEBALANCE_POSTGRES": server, "TERM": "dumb"}, "export", "transfers")
                for server in (url, url.replace(str(primary.managed["postgres"].port), str(standby.port)))
            ]
    assert [result.code for result in results] == [0, 0]
    assert results[0].out == results[1].out
    assert results[0].out.count("\n") == 8
