"""A batch whose COMMIT was not answered is published only by the owner that committed it."""

import pytest
from redis.asyncio import Redis

from livebalance.projector import projector
from livebalance.wire.delta import ProgressMessage, encode_progress, redis_lane_channel
from livebalance.wire.identity import Epoch, Lane
from livebalance.wire.timestamp import Millis
from tests.integration.projector.commit_cutter import commit_cutter
from tests.integration.projector.pipeline import Pipeline, history, transfer, wait_until
from tests.integration.projector.redis_listener import RedisListener, redis_listener
from tests.integration.projector.test_postgres import epochs

OTHER_OWNER = (
    "update lane set generation = generation + 1, transfers_next = transfers_next + 1 where lane = 0"
)


async def test_batch_in_doubt_is_not_published_after_another_owner_came_between(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other owner has moved the lane to the same offsets, and published what it wrote itself."""
    monkeypatch.setattr(projector, "_PROGRESS_SECONDS", 60.0)  # the COMMIT that is cut is that of the batch
    records = history("alice", [1])
    async with (
        commit_cutter(pipeline.database.url("projector")) as (cutter, url),
        redis_listener(pipeline.redis, pipeline.prefix) as listener,
        pipeline.running(postgres=url),
    ):
        await pipeline.write(records, 0)
        await listener.wait_for_revision("alice", 3)
        cutter.reachable.clear()
        cutter.arm("before")
        await pipeline.write([transfer("alice", "in-doubt", 5)], 0)
        await wait_until(lambda: cutter.cuts == 1)
        await pipeline.query(OTHER_OWNER)
        cutter.reachable.set()
        await pipeline.write([transfer("bob", "later", 1)], 0)
        await listener.wait_for_revision("bob", 1)
        assert max(to for _, to in listener.revisions("alice")) == 3


async def wait_until_heard(pipeline: Pipeline, listener: RedisListener) -> None:
    """Waits until the listener has heard everything that was published before."""
    last = ProgressMessage(Lane(99), Epoch("00000000000000a1"), Millis(1), behind=False)
    async with Redis.from_url(pipeline.redis) as redis:
        await redis.publish(redis_lane_channel(pipeline.prefix, last.lane), encode_progress(last))
    await wait_until(lambda: last in listener.progress)


async def test_nothing_is_published_or_committed_to_the_group_before_the_commit(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Group offsets that are ahead of Postgres would change the epoch at the next claim."""
    monkeypatch.setattr(projector, "_PROGRESS_SECONDS", 60.0)
    records = history("alice", [1])
    async with (
        commit_cutter(pipeline.database.url("projector")) as (cutter, url),
        redis_listener(pipeline.redis, pipeline.prefix) as listener,
        pipeline.running(postgres=url),
    ):
        await pipeline.write(records, 0)
        await listener.wait_for_revision("alice", 3)
        await pipeline.wait_until_applied(records)
        [epoch] = await epochs(pipeline)
        cutter.reachable.clear()
        cutter.arm("before")
        await pipeline.write([transfer("alice", "lost", 5)], 0)
        await wait_until(lambda: cutter.cuts == 1)
        await wait_until_heard(pipeline, listener)
        assert max(to for _, to in listener.revisions("alice")) == 3
        cutter.reachable.set()
        await listener.wait_for_revision("alice", 4)
        assert await epochs(pipeline) == {epoch}
