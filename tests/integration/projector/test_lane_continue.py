"""`livebalance lane continue`: the projector reads a halted lane again, and a row records the reason."""

import json

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.cli.command_line import CommandResult, run_command
from tests.integration.projector.lifecycle_topics import write_erasure
from tests.integration.projector.pipeline import Pipeline, balance, history, transfer
from tests.integration.projector.test_halted_lanes import (
    HALTED,
    assert_other_lanes_continue,
    recreate_unnoticed,
)
from tests.integration.recorder.halted_partitions import recreate

EPOCHS = (
    "select count(distinct epoch)::int from (select epoch from projection union all select epoch from lane)"
)
RUNNING = "select count(*)::int from lane where halted_why is null"


async def continue_lane(pipeline: Pipeline, *words: str) -> CommandResult:
    environment = {
        "LIVEBALANCE_KAFKA": pipeline.kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": pipeline.topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": pipeline.topics.balances,
        "LIVEBALANCE_LIFECYCLE_TOPIC": pipeline.topics.lifecycle,
        "LIVEBALANCE_POSTGRES": pipeline.database.url("operator"),
    }
    return await run_command(environment, "lane", "continue", *words)


async def halt_reason(pipeline: Pipeline) -> str:
    """Waits until lane 0, and no other lane, is halted. Returns the reason."""
    await pipeline.wait_for("select count(*)::int from lane where halted_why is not null", 1)
    [row] = await pipeline.query(HALTED)
    return str(row[0]).removeprefix("0: ")


async def test_lane_after_rejected_records_continues_with_valid_records(pipeline: Pipeline) -> None:
    async with pipeline.running(max_consecutive_rejects=3):
        for _ in range(6):
            await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"bad", 0)
        reason = await halt_reason(pipeline)
        await pipeline.write([transfer("alice", "good", 1)], 0)
        result = await continue_lane(pipeline, "0", "--reason", "the producer is fixed")
        assert (result.code, result.err) == (0, "")
        assert result.out == f"Lane 0 continues. It was halted: {reason}.\n"
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        assert len(await pipeline.query("select from quarantine")) == 6
        assert await pipeline.query(RUNNING) == [(3,)]
    [note] = await pipeline.query("select what, lane, was, became, by, why from intervention")
    assert tuple(note) == ("lane", 0, reason, None, "operator", "the producer is fixed")


async def test_lane_halts_again_while_the_cause_lasts(pipeline: Pipeline) -> None:
    async with pipeline.running(max_consecutive_rejects=3):
        for _ in range(8):
            await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"bad", 0)
        reason = await halt_reason(pipeline)
        assert (await continue_lane(pipeline, "0", "--reason", "in a hurry")).code == 0
        await pipeline.wait_for("select count(*)::int from quarantine", 6)
        assert await halt_reason(pipeline) == reason
        await assert_other_lanes_continue(pipeline)


async def test_recreated_topic_is_read_from_its_first_record(pipeline: Pipeline) -> None:
    """The new topic has the records that were applied before, and more. Each is listed once."""
    records = history("alice", [1, 2, 3])
    async with pipeline.running():
        await pipeline.write(records[:5], 0)
        await pipeline.wait_until_applied(records[:5])
        [[epoch]] = await pipeline.query("select epoch from projection")
    await recreate_unnoticed(pipeline)
    async with pipeline.running():
        reason = await halt_reason(pipeline)
        assert (await continue_lane(pipeline, "0", "--reason", "too early")).code == 0
        await pipeline.wait_for(HALTED, f"0: {reason}")
        await pipeline.write(records, 0)
        result = await continue_lane(pipeline, "0", "--reason", "recreated", "--from-first", "--json")
        assert (result.code, result.err) == (0, "")
        answer = json.loads(result.out)
        assert answer == {"lane": 0, "halted_why": reason, "epoch": answer["epoch"]}
        assert answer["epoch"] != epoch
        await pipeline.wait_until_applied(records)
        await assert_other_lanes_continue(pipeline)
        assert await pipeline.query("select distinct epoch from lane") == [(answer["epoch"],)]
    assert await pipeline.transfer_ids("alice") == ["t-1", "t-2", "t-3"]
    [row] = await pipeline.query(
        "select drift, half_applied, disputed_since from balance where account_id = 'alice'"
    )
    assert tuple(row) == (0, 0, None)


async def move_to_another_topic(pipeline: Pipeline) -> None:
    """Creates the topic of transfers again, and lets lane 0 continue at its start."""
    await recreate(pipeline.kafka, pipeline.topics.transfers, pipeline.topics.partitions)
    async with pipeline.running():
        await pipeline.wait_for("select bool_and(halted_why like '%recreated') from lane", True)
        result = await continue_lane(pipeline, "0", "--reason", "moved", "--from-first")
        assert (result.code, result.err) == (0, "")


async def test_erasure_after_a_move_erases_the_transfers_of_the_former_topic(pipeline: Pipeline) -> None:
    """Their offsets say nothing about the topic that the erasure names."""
    async with pipeline.running():
        records = history("alice", [1, 2, 3])
        await pipeline.write(records, 0)
        await pipeline.wait_until_applied(records)
    await move_to_another_topic(pipeline)
    async with pipeline.running():
        await write_erasure(pipeline, "alice", 0)
        await pipeline.wait_for("select erased_transfers_before::int from balance", 0)
        assert await pipeline.query("select transfer_count::int from balance") == [(0,)]


async def test_erasure_that_is_read_again_after_a_move_erases_nothing(pipeline: Pipeline) -> None:
    """A transfer from after the erasure stays, although its topic is gone."""
    async with pipeline.running():
        records = history("alice", [1, 2])
        await pipeline.write(records, 0)
        await pipeline.wait_until_applied(records)
        await write_erasure(pipeline, "alice", 2)
        await pipeline.wait_for("select erased_transfers_before::int from balance", 2)
        later: list[Transfer | Balance] = [
            balance("alice", 0, "", 0),
            transfer("alice", "t-3", 5),
            balance("alice", 1, "t-3", 5),
        ]
        await pipeline.write(later, 0)
        await pipeline.wait_for("select drift::int from balance where version = 1", 0)
    await move_to_another_topic(pipeline)
    async with pipeline.running():
        await pipeline.write([transfer("alice", "t-4", 1), balance("alice", 2, "t-4", 6)], 0)
        await pipeline.wait_for("select drift::int from balance where version = 2", 0)
    assert await pipeline.transfer_ids("alice") == ["t-3", "t-4"]


async def test_lost_records_are_skipped(pipeline: Pipeline) -> None:
    """The account that lacks a transfer is disputed. Other accounts of the lane are correct."""
    records = history("alice", [1, 2, 3])
    async with pipeline.running():
        await pipeline.write(records[:3], 0)
        await pipeline.wait_until_applied(records[:3])
    await pipeline.write([transfer("alice", "lost", 5), *records[3:]], 0)
    await pipeline.write([balance("bob", 0, "", 0), transfer("bob", "b", 7), balance("bob", 1, "b", 7)], 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
    await admin.start()
    try:
        lost = {TopicPartition(pipeline.topics.transfers, 0): RecordsToDelete(before_offset=3)}
        await admin.delete_records(lost)
    finally:
        await admin.close()
    async with pipeline.running():
        assert "history was lost" in await halt_reason(pipeline)
        assert (await continue_lane(pipeline, "0", "--reason", "gone for good", "--from-first")).code == 0
        await pipeline.wait_for("select count(*)::int from transfer where account_id = 'bob'", 1)
        await pipeline.wait_for("select version from balance where account_id = 'alice'", 3)
        await pipeline.wait_for("select drift::int from balance where account_id = 'bob'", 0)
    assert await pipeline.transfer_ids("alice") == ["t-1", "t-3"]
    [row] = await pipeline.query("select disputed_since is null from balance where account_id = 'alice'")
    assert row[0] is False


@pytest.mark.parametrize("number", ["0", "7"])
async def test_lane_that_is_not_halted_is_not_changed(pipeline: Pipeline, number: str) -> None:
    async with pipeline.running():
        await pipeline.wait_for(RUNNING, 3)
        result = await continue_lane(
            pipeline, number, "--reason", "a mistake", "--from-first" if number == "0" else "--json"
        )
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"livebalance: the lane was not continued: lane {number} is not halted, or does not exist\n"
    )
    assert await pipeline.query("select from intervention") == []
    assert await pipeline.query(EPOCHS) == [(1,)]
