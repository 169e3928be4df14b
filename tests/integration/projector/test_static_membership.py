"""Static group membership: a member's lanes wait while it restarts, and move if it stays away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livebalance.projector.kafka.consumer import LaneConsumer
from tests.integration.projector.pipeline import Pipeline, wait_until

SESSION_MS = 15_000


@asynccontextmanager
async def started_consumer(pipeline: Pipeline, member: str | None) -> AsyncIterator[LaneConsumer]:
    lane_consumer = LaneConsumer(
        pipeline.settings(f"projector-of-{member}", group_instance_id=member, session_timeout_ms=SESSION_MS)
    )
    await lane_consumer.start()
    try:
        yield lane_consumer
    finally:
        await lane_consumer.stop()


async def test_static_member_keeps_its_lanes_over_a_restart_only(pipeline: Pipeline) -> None:
    async with started_consumer(pipeline, "stays") as stays:
        async with started_consumer(pipeline, "restarts") as restarts:
            await wait_until(lambda: bool(stays.assigned() and restarts.assigned()))
            mine, others = stays.assigned(), restarts.assigned()
            number = stays.assignment_number
        async with started_consumer(pipeline, "restarts") as again:
            await wait_until(lambda: again.assigned() == others)
        assert stays.assignment_number == number
        await wait_until(lambda: stays.assigned() == sorted(mine + others))


async def test_lanes_of_a_dynamic_member_move_at_once(pipeline: Pipeline) -> None:
    async with started_consumer(pipeline, None) as stays:
        async with started_consumer(pipeline, None) as leaves:
            await wait_until(lambda: bool(stays.assigned() and leaves.assigned()))
        await wait_until(lambda: len(stays.assigned()) == pipeline.topics.partitions, SESSION_MS / 1000 - 1)
