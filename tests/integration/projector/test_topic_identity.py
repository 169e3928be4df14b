"""A projector that runs notices that a topic has more partitions, or was deleted and created again."""

import asyncio
import time

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from livebalance.runtime.kafka.topic_watch import TopicWatch
from tests.integration.projector.pipeline import Pipeline, history, transfer, wait_until
from tests.integration.projector.test_halted_lanes import recreate
from tests.integration.projector.test_lane_continue import EPOCHS, RUNNING, continue_lane

NOTICED_SECONDS = 60.0
REASONS = "select string_agg(distinct halted_why, ', ') from lane"
COMPLETE = "select min(as_of) is not null from lane"


async def add_partitions(pipeline: Pipeline, topics: list[str]) -> float:
    """Returns a time, in ms, after the broker has learned of the partitions from the controller."""
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
    await admin.start()
    try:
        count = pipeline.topics.partitions + 2
        await admin.create_partitions({topic: NewPartitions(count) for topic in topics})
        async with asyncio.timeout(60):
            while {len(topic["partitions"]) for topic in await admin.describe_topics(topics)} != {count}:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return time.time() * 1000
    finally:
        await admin.close()


async def assert_halted(pipeline: Pipeline, reason: str) -> None:
    """Waits until every lane is halted for `reason`."""
    await pipeline.wait_for(RUNNING, 0, NOTICED_SECONDS)
    await pipeline.wait_for(REASONS, reason)


@pytest.mark.parametrize("which", ["transfers", "balances"])
async def test_topic_with_more_partitions_halts_all_lanes(pipeline: Pipeline, which: str) -> None:
    topic = getattr(pipeline.topics, which)
    async with pipeline.running() as projector:
        await pipeline.wait_for(COMPLETE, True)
        known_ms = await add_partitions(pipeline, [topic])
        reason = f"the topic {topic} has 5 partitions, the projection was built from 3"
        await assert_halted(pipeline, reason)
        # The projector knows its lanes a moment later than Postgres, and not while the group rebalances.
        await wait_until(lambda: reason in str(projector.halted_reason()))
        [[complete_ms]] = await pipeline.query("select extract(epoch from max(as_of)) * 1000 from lane")
        assert complete_ms <= known_ms
        assert (await continue_lane(pipeline, "0", "--reason", "too early")).code == 0
        await pipeline.wait_for("select count(*)::int from intervention", 1)
        await assert_halted(pipeline, reason)


async def test_lane_is_never_complete_as_of_a_time_after_the_topics_were_compared(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka answers fetches, but does not say whether the topics have changed."""
    async with pipeline.running() as projector:
        await pipeline.wait_for(COMPLETE, True)
        monkeypatch.setattr(TopicWatch, "read", hang)
        await pipeline.write([transfer("alice", "t", 1)], 0)
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        before = projector._progress_written_at
        await wait_until(lambda: projector._progress_written_at > before + 1.5)  # progress was written twice
        compared_at = projector._consumer.topic_watch.read_at
        [[complete_ms]] = await pipeline.query("select extract(epoch from max(as_of)) * 1000 from lane")
        assert complete_ms <= compared_at, "complete as of a time after the topics were compared"


async def hang(self: TopicWatch) -> None:
    await asyncio.Event().wait()


async def test_lane_is_never_complete_as_of_a_time_within_an_open_transaction(pipeline: Pipeline) -> None:
    """Records that were written since its first record cannot be read yet."""
    async with pipeline.running():
        await pipeline.wait_for(COMPLETE, True)
        async with pipeline.open_transaction(transfer("alice", "never", 1)):
            opened_ms = time.time() * 1000
            others = f"select max(extract(epoch from as_of)) * 1000 > {opened_ms + 3000} from lane"
            await pipeline.wait_for(others, True)  # other lanes go on
            [[oldest]] = await pipeline.query("select min(extract(epoch from as_of)) * 1000 from lane")
            assert oldest <= opened_ms + 2000, "complete as of a time within an open transaction"


async def test_projector_that_is_assigned_unknown_lanes_halts_its_own(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.wait_for(COMPLETE, True)
    await add_partitions(pipeline, [pipeline.topics.transfers, pipeline.topics.balances])
    async with pipeline.running() as projector:
        await pipeline.wait_for(RUNNING, 0, NOTICED_SECONDS)
        await wait_until(lambda: "5 partitions" in str(projector.halted_reason()))


async def test_topic_created_again_halts_all_lanes(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.write([transfer("alice", "t", 1)], 0)
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        await recreate(pipeline)
        await assert_halted(
            pipeline, f"{pipeline.topics.transfers} has another topic id now: the topic was recreated"
        )


async def test_topic_created_again_with_more_records_halts_all_lanes(pipeline: Pipeline) -> None:
    """Neither its offsets nor its records show that it is another topic: nothing was read of the first."""
    async with pipeline.running():
        await pipeline.wait_for(COMPLETE, True)
    await recreate(pipeline)
    await pipeline.write([transfer("alice", "t", 1)], 0)
    async with pipeline.running():
        await assert_halted(
            pipeline, f"{pipeline.topics.transfers} has another topic id now: the topic was recreated"
        )
    assert await pipeline.transfer_ids("alice") == []


async def test_lanes_continued_from_their_first_records_adopt_the_new_topics(pipeline: Pipeline) -> None:
    records = history("alice", [1, 2, 3])
    async with pipeline.running() as projector:
        await pipeline.write(records[:3], 0)
        await pipeline.wait_until_applied(records[:3])
        await recreate(pipeline)
        await pipeline.wait_for(RUNNING, 0, NOTICED_SECONDS)
        await pipeline.write(records, 0)
        for lane in ("0", "1", "2"):
            result = await continue_lane(pipeline, lane, "--reason", "recreated", "--from-first")
            assert (result.code, result.err) == (0, "")
        await pipeline.wait_until_applied(records)
        await pipeline.wait_for(COMPLETE, True)
        await wait_until(lambda: projector.halted_reason() is None)
        assert await pipeline.query(RUNNING) == [(3,)]
        assert await pipeline.query(EPOCHS) == [(1,)]
    async with pipeline.running():  # another claim compares the stored ids
        await pipeline.wait_for("select min(generation) > 1 from lane", True)
        await pipeline.write(history("bob", [1]), 1)
        await pipeline.wait_for("select count(*)::int from transfer", 4)
        assert await pipeline.query(RUNNING) == [(3,)]
