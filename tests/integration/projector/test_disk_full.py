"""Postgres has no space left on its disk: nothing is applied or lost, until there is space again."""

import dataclasses
from pathlib import Path

import asyncpg

from livebalance.readmodel.migrate import migrate
from livebalance.stack.paths import StatePaths
from tests.integration.projector.pipeline import Pipeline, history, wait_until
from tests.servers.database import Database
from tests.servers.disposable import disposable_servers
from tests.servers.small_disk import small_disk

_APPLIED_AND_OFFSETS = """
select (select sum(revision) from balance)::int, (select sum(transfers_next + balances_next) from lane)::int
"""


async def test_full_disk_of_postgres_loses_and_repeats_nothing(
    pipeline: Pipeline, paths: StatePaths, tmp_path: Path
) -> None:
    first, second = history("alice", range(1, 6)), history("bob", range(1, 3_001))
    with (
        small_disk(tmp_path / "disk", 256) as disk,
        disposable_servers(StatePaths(paths.home, disk.path / "own"), "postgres") as servers,
    ):
        await migrate(servers.postgres())
        pipeline = dataclasses.replace(pipeline, database=Database(servers.postgres, "livebalance"))
        async with pipeline.running() as projector:
            await pipeline.write(first)
            await pipeline.wait_until_applied(first)
            # A session that begins later may have to write Postgres' cache of its catalogs, and fail.
            owner = await asyncpg.connect(servers.postgres(), timeout=30)
            disk.fill()
            await pipeline.write(second)
            await wait_until(lambda: projector.unready_reason() is not None)
            assert projector.unready_reason() == "no lanes claimed"
            [[applied, offsets]] = await owner.fetch(_APPLIED_AND_OFFSETS)
            await owner.close()
            assert applied == offsets < len(first) + len(second)
            disk.free()
            await pipeline.wait_until_applied([*first, *second])
            await wait_until(lambda: projector.unready_reason() is None)
        await pipeline.assert_exact([*first, *second])
