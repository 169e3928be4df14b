"""A member with a name: its lanes wait for it while it restarts, and go on to others if it stays away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livebalance.projector.kafka.consumer import LaneConsumer
from tests.integration.projector.world import World, reached

SESSION_MS = 6_000  # the shortest that brokers allow


@asynccontextmanager
async def intake(world: World, member: str | None) -> AsyncIterator[LaneConsumer]:
    one = LaneConsumer(
        world.settings(f"projector-of-{member}", group_instance_id=member, session_timeout_ms=SESSION_MS)
    )
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def test_a_restart_moves_no_lane_and_an_absence_does(world: World) -> None:
    async with intake(world, "stays") as stays:
        async with intake(world, "restarts") as restarts:
            await reached(lambda: bool(stays.assigned() and restarts.assigned()))
            mine, others = stays.assigned(), restarts.assigned()
            number = stays.assignment_number
        async with intake(world, "restarts") as again:
            await reached(lambda: again.assigned() == others)
        assert stays.assignment_number == number
        await reached(lambda: stays.assigned() == sorted(mine + others), 30)


async def test_without_a_name_others_take_over_at_once(world: World) -> None:
    async with intake(world, None) as stays:
        async with intake(world, None) as leaves:
            await reached(lambda: bool(stays.assigned() and leaves.assigned()))
        await reached(lambda: len(stays.assigned()) == world.topics.partitions, SESSION_MS / 1000 - 1)
