"""A projector is killed at the worst points: no record is lost, and none is applied twice."""

import signal

import pytest

from tests.integration.projector.pipeline import Pipeline, history, wait_until
from tests.integration.projector.redis_listener import redis_listener


def other_group(pipeline: Pipeline) -> str:
    """Returns a group without the killed member, so that no session has to time out first."""
    return f"again-{pipeline.prefix}"


@pytest.mark.parametrize("point", ["before_commit:2", "after_commit:2", "between_publishes:2"])
async def test_projector_killed_at_a_failpoint_applies_each_record_once(
    pipeline: Pipeline, point: str
) -> None:
    records = [record for name in ("a", "b", "c", "d") for record in history(name, range(1, 40))]
    victim = pipeline.start(crash_at=point, batch_records=50)
    await pipeline.write(records)
    await wait_until(lambda: victim.exit_code == -signal.SIGKILL)
    [row] = await pipeline.query("select coalesce(sum(revision), 0)::int from balance")
    assert row[0] < len(records)
    pipeline.start("projector-2", projector_group=other_group(pipeline))
    await pipeline.wait_until_applied(records)
    await pipeline.assert_exact(records)


async def test_projector_killed_before_publishing_leaves_a_visible_gap(pipeline: Pipeline) -> None:
    """The next delta begins at the revision in Postgres, so clients see that revisions are missing."""
    first, second = history("alice", [1]), history("alice", [1, 2])[3:]
    async with redis_listener(pipeline.redis, pipeline.prefix) as listener:
        victim = pipeline.start(crash_at="after_commit:1")
        await pipeline.write(first)
        await wait_until(lambda: victim.exit_code == -signal.SIGKILL)
        [row] = await pipeline.query("select coalesce(sum(revision), 0)::int from balance")
        assert row[0] > 0
        assert listener.revisions("alice") == []
        async with pipeline.running("projector-2", projector_group=other_group(pipeline)):
            await pipeline.write(second)
            await listener.wait_for_revision("alice", 5)
        assert listener.revisions("alice")[0][0] >= row[0]
    await pipeline.assert_exact(first + second)
