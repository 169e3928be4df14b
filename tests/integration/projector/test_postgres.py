"""Postgres is unavailable, loses a connection during COMMIT, or is another server."""

import dataclasses
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from livebalance.readmodel.migrate import migrate
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from tests.integration.projector.commit_cutter import commit_cutter
from tests.integration.projector.pipeline import Pipeline, history, transfer
from tests.integration.projector.redis_listener import redis_listener
from tests.servers.database import Database


async def test_projector_continues_after_postgres_was_killed(
    pipeline: Pipeline, paths: StatePaths, tmp_path: Path
) -> None:
    with Servers(
        StatePaths(paths.home, tmp_path / "own"), parts=["postgres"], durable=False, only_embedded=True
    ) as servers:
        await migrate(servers.postgres())
        pipeline = dataclasses.replace(pipeline, database=Database(servers.postgres, "livebalance"))
        server = servers.embedded["postgres"].child
        records = history("alice", range(1, 6))
        async with pipeline.running():
            await pipeline.write(records[:5])
            await pipeline.wait_until_applied(records[:5])
            server.kill()
            await pipeline.write(records[5:])
            server.start()
            server.wait_for("ready to accept connections", 30)
            await pipeline.wait_until_applied(records)
        await pipeline.assert_exact(records)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_outcome_of_an_unanswered_commit_is_resolved(pipeline: Pipeline, when: str) -> None:
    """Each record is applied once and published once, whether or not the COMMIT reached the server."""
    records = history("alice", range(1, 4))
    async with (
        commit_cutter(pipeline.database.url("projector")) as (cutter, url),
        redis_listener(pipeline.redis, pipeline.prefix) as listener,
        pipeline.running(postgres=url),
    ):
        await pipeline.write(records[:3])
        await listener.wait_for_revision("alice", 3)
        cutter.arm(when)
        await pipeline.write(records[3:])
        await listener.wait_for_revision("alice", len(records))
        assert cutter.cuts == 1
        chain = listener.revisions("alice")
        assert [from_ for from_, _ in chain] == [0, *[to for _, to in chain[:-1]]]
    await pipeline.assert_exact(records)


async def epochs(pipeline: Pipeline) -> set[str]:
    rows = await pipeline.query("select epoch from projection union all select epoch from lane")
    return {row[0] for row in rows}


async def test_other_timeline_changes_the_epoch(pipeline: Pipeline) -> None:
    records = history("alice", [1, 2])
    async with pipeline.running():
        await pipeline.write(records[:3])
        await pipeline.wait_until_applied(records[:3])
    [old] = await epochs(pipeline)
    await pipeline.query("update projection set timeline = '00000000'")
    assert (await pipeline.query("select known from truth"))[0][0] is False
    async with pipeline.running():
        await pipeline.write(records[3:])
        await pipeline.wait_until_applied(records)
    [new] = await epochs(pipeline)
    assert new != old
    assert (await pipeline.query("select known from truth"))[0][0] is True
    await pipeline.assert_exact(records)


LOSE_COMMITS = [  # as after a failover to a standby that lacks the last batches
    "delete from transfer where revision > 1",
    "update balance set revision = 1, transfer_count = 0, posted_total = 0, version = 0, transfer_id = ''",
    "update balance set balance = 0, half_applied = 0, drift = 0, transfers_offset = null",
    "update lane set transfers_next = 0, balances_next = 1, transfers_last = null, balances_last = null"
    " where transfers_next > 0",
]


async def test_lost_commits_change_the_epoch_and_are_read_again(pipeline: Pipeline) -> None:
    records = history("alice", [1, 2])
    async with pipeline.running():
        await pipeline.write(records[:1])
        await pipeline.wait_until_applied(records[:1])
        await pipeline.write(records[1:])
        await pipeline.wait_until_applied(records)
    [old] = await epochs(pipeline)
    for statement in LOSE_COMMITS:
        await pipeline.query(statement)
    async with pipeline.running():
        await pipeline.wait_until_applied(records)
    [new] = await epochs(pipeline)
    assert new != old
    await pipeline.assert_exact(records)
    async with pipeline.running():
        await pipeline.wait_for("select bool_and(as_of > now() - interval '3 s') from lane", True)
    assert await epochs(pipeline) == {new}


async def test_group_offset_of_another_epoch_is_ignored(pipeline: Pipeline) -> None:
    async with pipeline.running() as projector:
        await pipeline.write([transfer("alice", "t", 1)], 0)
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        [old] = await epochs(pipeline)
        at = TopicPartition(pipeline.topics.transfers, 0)
        await projector._consumer._consumer.commit({at: (99, "ffffffffffffffff")})
    async with pipeline.running():
        await pipeline.write([transfer("alice", "u", 1)], 0)
        listed_or_changed = "select count(*) = 2 or (select min(epoch) from projection) <> '{}' from transfer"
        await pipeline.wait_for(listed_or_changed.format(old), True)
        assert await epochs(pipeline) == {old}
    assert await pipeline.transfer_ids("alice") == ["t", "u"]


async def test_only_one_of_two_projectors_changes_the_epoch(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.wait_for("select count(distinct owner)::int from lane", 1)
    await pipeline.query("update projection set timeline = '00000000'")
    async with pipeline.running("one"), pipeline.running("two"):
        await pipeline.wait_for("select string_agg(distinct owner, ',' order by owner) from lane", "one,two")
        [epoch] = await epochs(pipeline)
        records = history("alice", [1]) + history("bob", [1]) + history("carol", [1])
        await pipeline.write(records)
        await pipeline.wait_until_applied(records)
        assert await epochs(pipeline) == {epoch}
