"""A batch whose COMMIT was not answered is published only by the owner that committed it."""

import pytest

from livebalance.projector import projector
from tests.integration.projector.commit_cutter import commit_cutter
from tests.integration.projector.pipeline import Pipeline, history, transfer, wait_until
from tests.integration.projector.redis_listener import redis_listener

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
