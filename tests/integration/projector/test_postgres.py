"""Postgres away, cut off inside COMMIT, or not the one it was."""

import dataclasses
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from livebalance.readmodel.migrate import migrate
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from tests.integration.projector.bell import hearing
from tests.integration.projector.cutter import cutting
from tests.integration.projector.world import World, history, transfer
from tests.servers.database import Database


async def test_postgres_away_backs_off_and_repeats(world: World, place: StatePaths, tmp_path: Path) -> None:
    with Servers(
        StatePaths(place.home, tmp_path / "own"), parts=["postgres"], durable=False, embedded=True
    ) as own:
        await migrate(own.postgres())
        here = dataclasses.replace(world, database=Database(own.postgres, "livebalance"))
        server = own.own["postgres"].child
        fed = history("alice", range(1, 6))
        async with here.running():
            await here.write(fed[:5])
            await here.applied(fed[:5])
            server.kill()
            await here.write(fed[5:])
            server.start()
            server.wait_for("ready to accept connections", 30)
            await here.applied(fed)
        await here.is_exact(fed)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_outcome_of_a_commit_is_found_out(world: World, when: str) -> None:
    """Heard or not, each record is applied once; and what it published is heard exactly once."""
    fed = history("alice", range(1, 4))
    async with (
        cutting(world.database.url("projector")) as (cutter, url),
        hearing(world.redis, world.prefix) as bell,
        world.running(postgres=url),
    ):
        await world.write(fed[:3])
        await bell.reaches("alice", 3)
        cutter.arm(when)
        await world.write(fed[3:])
        await bell.reaches("alice", len(fed))
        assert cutter.cuts == 1
        chain = bell.chain("alice")
        assert [from_ for from_, _ in chain] == [0, *[to for _, to in chain[:-1]]]
    await world.is_exact(fed)


async def epochs(world: World) -> set[str]:
    rows = await world.ask("select epoch from projection union all select epoch from lane")
    return {row[0] for row in rows}


async def test_another_server_or_timeline_changes_the_epoch(world: World) -> None:
    fed = history("alice", [1, 2])
    async with world.running():
        await world.write(fed[:3])
        await world.applied(fed[:3])
    [old] = await epochs(world)
    await world.ask("update projection set timeline = '00000000'")
    assert (await world.ask("select known from truth"))[0][0] is False
    async with world.running():
        await world.write(fed[3:])
        await world.applied(fed)
    [new] = await epochs(world)
    assert new != old
    assert (await world.ask("select known from truth"))[0][0] is True
    await world.is_exact(fed)


LOST = [  # what a failover to an older standby does: the last batches were never committed
    "delete from transfer where revision > 1",
    "update balance set revision = 1, transfer_count = 0, posted_total = 0, version = 0, transfer_id = ''",
    "update balance set balance = 0, half_applied = 0, drift = 0, transfers_offset = null",
    "update lane set transfers_next = 0, balances_next = 1, transfers_last = null, balances_last = null"
    " where transfers_next > 0",
]


async def test_a_group_ahead_of_postgres_changes_the_epoch_and_kafka_gives_it_back(world: World) -> None:
    fed = history("alice", [1, 2])
    async with world.running():
        await world.write(fed[:1])
        await world.applied(fed[:1])
        await world.write(fed[1:])
        await world.applied(fed)
    [old] = await epochs(world)
    for statement in LOST:
        await world.ask(statement)
    async with world.running():
        await world.applied(fed)
    [new] = await epochs(world)
    assert new != old
    await world.is_exact(fed)
    async with world.running():
        await world.until("select bool_and(as_of > now() - interval '3 s') from lane", True)
    assert await epochs(world) == {new}


async def test_a_mark_of_an_older_epoch_or_of_somebody_else_proves_nothing(world: World) -> None:
    async with world.running() as projector:
        await world.write([transfer("alice", "t", 1)], 0)
        await world.until("select count(*)::int from transfer", 1)
        [old] = await epochs(world)
        at = TopicPartition(world.topics.transfers, 0)
        await projector._consumer._consumer.commit({at: (99, "ffffffffffffffff")})
    async with world.running():
        await world.write([transfer("alice", "u", 1)], 0)
        await world.until("select count(*)::int from transfer", 2)
    assert await epochs(world) == {old}


async def test_only_one_of_two_changes_the_epoch(world: World) -> None:
    async with world.running():
        await world.until("select count(distinct owner)::int from lane", 1)
    await world.ask("update projection set timeline = '00000000'")
    async with world.running("one"), world.running("two"):
        await world.until("select string_agg(distinct owner, ',' order by owner) from lane", "one,two")
        [epoch] = await epochs(world)
        fed = history("alice", [1]) + history("bob", [1]) + history("carol", [1])
        await world.write(fed)
        await world.applied(fed)
        assert await epochs(world) == {epoch}
