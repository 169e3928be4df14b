"""A projector refuses to start, with one line in the log, if the topics do not fit."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from livebalance.stack.servers.topics import Topics
from tests.integration.projector.pipeline import Pipeline, wait_until

KEPT = {"retention.ms": "-1"}
COMPACTED = {"cleanup.policy": "compact"}


@pytest.mark.parametrize(
    ("partitions", "transfers", "balances", "words"),
    [
        ((2, 3), KEPT, COMPACTED, "both must have the same number"),
        ((2, 2), {"retention.ms": "604800000"}, COMPACTED, "set retention.ms=-1"),
        ((2, 2), KEPT, {}, "set cleanup.policy=compact"),
    ],
)
async def test_unsuitable_topics_are_rejected(
    pipeline: Pipeline,
    partitions: tuple[int, int],
    transfers: dict[str, str],
    balances: dict[str, str],
    words: str,
) -> None:
    pipeline.topics = Topics(f"{pipeline.topics.transfers}-unfit", f"{pipeline.topics.balances}-unfit", 2)
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(pipeline.topics.transfers, partitions[0], 1, topic_configs=transfers),
                NewTopic(pipeline.topics.balances, partitions[1], 1, topic_configs=balances),
            ]
        )
        await assert_start_refused(pipeline, words)
    finally:
        await admin.delete_topics([pipeline.topics.transfers, pipeline.topics.balances])
        await admin.close()


async def test_missing_topics_are_rejected(pipeline: Pipeline) -> None:
    pipeline.topics = Topics("not-there", "not-there-either", 2)
    await assert_start_refused(pipeline, "there is no topic not-there: create it first")


async def test_other_partition_count_than_the_projection_is_rejected(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.wait_for("select count(distinct owner)::int from lane", 1)
    await pipeline.query("update projection set partitions = 7")
    await assert_start_refused(pipeline, "the topics have 3 partitions, the projection was built from 7")


async def assert_start_refused(pipeline: Pipeline, words: str) -> None:
    child = pipeline.start()
    await wait_until(lambda: child.exit_code is not None)
    lines = [line for line in child.tail() if "refused to start" in line]
    assert child.exit_code == 2
    assert len(lines) == 1
    assert words in lines[0]
    assert not any("Traceback" in line for line in child.tail())
