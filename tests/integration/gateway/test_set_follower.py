"""A gateway names sets to Postgres, if Postgres can be written."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from livebalance.gateway.postgres import set_follower
from livebalance.gateway.postgres.set_follower import SetFollower
from livebalance.readmodel import gateway_reads
from livebalance.readmodel.migrate import migrate
from livebalance.stack.paths import StatePaths
from livebalance.wire.identity import SetName
from tests.servers.database import Database
from tests.servers.disposable import disposable_servers
from tests.servers.standby import promote, running_standby

SETS = [SetName("prefix", "EU-"), SetName("prefix", "US-")]


async def test_new_sets_are_named_at_once_and_all_sets_from_time_to_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_follower, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(set_follower, "AGAIN_AFTER_SECONDS", 0.5)
    named, names = list[list[SetName]](), SETS[:1]

    async def follow_sets(_: object, names: list[SetName]) -> None:
        named.append(names)

    monkeypatch.setattr(set_follower, "follow_sets", follow_sets)
    async with asyncpg.create_pool(database.url("gateway"), min_size=1, max_size=1) as pool:
        task = asyncio.create_task(SetFollower(pool, lambda: names, timeout_seconds=30).run())
        async with asyncio.timeout(30):
            while len(named) < 1:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
            names = SETS
            while SETS not in named:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    assert named[0] == SETS[:1]
    assert SETS[1:] in named
    assert named.count(SETS) == 1


async def test_server_in_recovery_does_not_end_the_gateway(
    paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_follower, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(set_follower, "AGAIN_AFTER_SECONDS", 0.05)
    with disposable_servers(StatePaths(paths.home, tmp_path / "primary"), "postgres") as servers:
        await migrate(servers.postgres())
        with running_standby(StatePaths(paths.home, tmp_path / "standby"), servers.postgres()) as standby:
            port = str(servers.managed["postgres"].port)
            url = servers.postgres("gateway").replace(port, str(standby.port))
            async with asyncpg.create_pool(
                url, min_size=1, max_size=1, server_settings=gateway_reads.SETTINGS
            ) as pool:
                follower = asyncio.create_task(SetFollower(pool, lambda: SETS, timeout_seconds=30).run())
                promoted = await asyncpg.connect(servers.postgres().replace(port, str(standby.port)))
                done, _ = await asyncio.wait([follower], timeout=0.5)
                assert not done, follower.exception()
                await promote(promoted)
                async with asyncio.timeout(30):
                    while await promoted.fetchval("select count(*) from followed_set") < len(SETS):  # noqa: ASYNC110 - SQL has no event
                        await asyncio.sleep(0.02)
                follower.cancel()
                await asyncio.wait([follower])
                await promoted.close()
