"""A broken invariant halts one lane, with the reason in its row. The other lanes continue."""

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from livebalance.runtime.kafka.connection import Broker
from tests.integration.projector.pipeline import Pipeline, transfer
from tests.servers.topics import delete_topics

HALTED = "select string_agg(lane || ': ' || halted_why, ', ') from lane where halted_why is not null"


async def assert_other_lanes_continue(pipeline: Pipeline) -> None:
    [row] = await pipeline.query("select count(*)::int from transfer")
    await pipeline.write([transfer("other", "t", 1)], 1)
    await pipeline.wait_for("select count(*)::int from transfer", row[0] + 1)


async def recreate(pipeline: Pipeline) -> None:
    """Deletes both topics and creates them again, empty."""
    await delete_topics(pipeline.topics, Broker(pipeline.kafka))
    await pipeline.topics.create(Broker(pipeline.kafka))


async def recreate_unnoticed(pipeline: Pipeline) -> None:
    """Creates both topics again. The lanes know no topic ids, as those of an earlier release."""
    await recreate(pipeline)
    await pipeline.query(
        "update lane set transfers_topic_id = null, balances_topic_id = null, lifecycle_topic_id = null"
    )


async def test_too_many_consecutive_rejects_halt_the_lane(pipeline: Pipeline) -> None:
    async with pipeline.running(max_consecutive_rejects=3):
        await pipeline.write([transfer("alice", "t", 1)], 0)
        for _ in range(6):
            await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"bad", 0)
        reason = f"0: more than 3 consecutive records of {pipeline.topics.transfers} were rejected"
        await pipeline.wait_for(HALTED, reason)
        await assert_other_lanes_continue(pipeline)
    [row] = await pipeline.query("select transfers_next from lane where lane = 0")
    assert row[0] == 4
    assert len(await pipeline.query("select from quarantine")) == 3


async def test_rejected_balances_between_valid_transfers_halt_the_lane(pipeline: Pipeline) -> None:
    async with pipeline.running(max_consecutive_rejects=3):
        for number in range(4):
            await pipeline.write([transfer("alice", f"t-{number}", 1)], 0)
            await pipeline.write_raw(pipeline.topics.balances, b"alice", b"bad", 0)
        reason = f"0: more than 3 consecutive records of {pipeline.topics.balances} were rejected"
        await pipeline.wait_for(HALTED, reason)
        await assert_other_lanes_continue(pipeline)
    [row] = await pipeline.query("select transfers_next, balances_next from lane where lane = 0")
    assert tuple(row) == (4, 3)


async def test_recreated_shorter_topic_halts_the_lane(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.write([transfer("alice", str(number), 1) for number in range(3)], 0)
        await pipeline.wait_for("select count(*)::int from transfer", 3)
    await recreate_unnoticed(pipeline)
    async with pipeline.running():
        await pipeline.wait_for(
            HALTED, f"0: {pipeline.topics.transfers} ends at 0 but 3 comes next: the topic was recreated"
        )
        await assert_other_lanes_continue(pipeline)


async def test_recreated_topic_with_other_records_halts_the_lane(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.write([transfer("alice", str(number), 1) for number in range(3)], 0)
        await pipeline.wait_for("select count(*)::int from transfer", 3)
    await recreate_unnoticed(pipeline)
    await pipeline.write([transfer("alice", f"new-{number}", 1) for number in range(5)], 0)
    async with pipeline.running():
        await pipeline.wait_for(
            HALTED,
            f"0: {pipeline.topics.transfers} holds another record at 2 now: the topic was recreated",
        )
        await assert_other_lanes_continue(pipeline)
    assert await pipeline.transfer_ids("alice") == ["0", "1", "2"]


async def delete_records(pipeline: Pipeline, before: int) -> None:
    """Deletes the transfers of lane 0 before an offset."""
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(pipeline.topics.transfers, 0): RecordsToDelete(before_offset=before)}
        )
    finally:
        await admin.close()


async def test_records_deleted_by_retention_halt_the_lane(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.write([transfer("alice", "0", 1)], 0)
        await pipeline.wait_for("select count(*)::int from transfer", 1)
    await pipeline.write([transfer("alice", str(number), 1) for number in range(1, 5)], 0)
    await delete_records(pipeline, before=3)
    async with pipeline.running():
        await pipeline.wait_for(
            HALTED, f"0: {pipeline.topics.transfers} begins at 3 but 1 comes next: history was lost"
        )
        await assert_other_lanes_continue(pipeline)


async def test_lane_whose_last_record_was_deleted_continues(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.write([transfer("alice", "0", 1)], 0)
        await pipeline.wait_for("select count(*)::int from transfer", 1)
    await delete_records(pipeline, before=1)
    await pipeline.write([transfer("alice", "1", 1)], 0)
    async with pipeline.running():
        await pipeline.wait_for("select count(*)::int from transfer", 2)


async def test_halted_lane_stays_halted_after_another_claim(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.wait_for("select count(distinct owner)::int from lane", 1)
    await pipeline.query("update lane set halted_why = 'because' where lane = 0")
    async with pipeline.running():
        await pipeline.write([transfer("alice", "t", 1)], 0)
        await assert_other_lanes_continue(pipeline)
    assert await pipeline.transfer_ids("alice") == []
    await pipeline.query("update lane set halted_why = null")
    async with pipeline.running():
        await pipeline.wait_for("select count(*)::int from transfer", 2)
