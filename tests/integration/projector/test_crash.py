"""A projector that dies, at the worst points: nothing is lost and nothing is applied twice."""

import signal

import pytest

from tests.integration.projector.bell import hearing
from tests.integration.projector.world import World, history, reached


def another(world: World) -> str:
    """A group in which nobody waits for the dead member to be missed: the fence does not care."""
    return f"again-{world.prefix}"


@pytest.mark.parametrize("point", ["before_commit:2", "after_commit:2", "between_publishes:2"])
async def test_killed_at_a_point_and_started_again(world: World, point: str) -> None:
    fed = [record for name in ("a", "b", "c", "d") for record in history(name, range(1, 40))]
    victim = world.start(crash_at=point, batch_records=50)
    await world.write(fed)
    await reached(lambda: victim.exit_code == -signal.SIGKILL)
    [row] = await world.ask("select coalesce(sum(revision), 0)::int from balance")
    assert row[0] < len(fed)
    world.start("projector-2", projector_group=another(world))
    await world.applied(fed)
    await world.is_exact(fed)


async def test_killed_between_commit_and_publish_leaves_a_hole_that_shows(world: World) -> None:
    """What was not published is missing from the chain: the next delta begins where Postgres stands."""
    first, second = history("alice", [1]), history("alice", [1, 2])[3:]
    async with hearing(world.redis, world.prefix) as bell:
        victim = world.start(crash_at="after_commit:1")
        await world.write(first)
        await reached(lambda: victim.exit_code == -signal.SIGKILL)
        [row] = await world.ask("select coalesce(sum(revision), 0)::int from balance")
        assert row[0] > 0
        assert bell.chain("alice") == []
        world.start("projector-2", projector_group=another(world))
        await world.write(second)
        await bell.reaches("alice", 5)
        assert bell.chain("alice")[0][0] >= row[0]
    await world.is_exact(first + second)
