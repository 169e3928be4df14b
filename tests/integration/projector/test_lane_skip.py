"""`livebalance lane skip`: a halted lane moves past a record, which the quarantine keeps."""

import json

import pytest

from livebalance.runtime.schema.file_registry import TRANSFER_ID
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.headers import decode_headers
from tests.integration.cli.command_line import CommandResult, run_command
from tests.integration.projector.lifecycle_topics import write_opening
from tests.integration.projector.pipeline import Pipeline, transfer
from tests.integration.projector.test_lane_continue import halt_reason

NEXT = "select transfers_next, balances_next, halted_why is not null from lane where lane = 0"


async def lane(pipeline: Pipeline, *words: str) -> CommandResult:
    environment = {
        "LIVEBALANCE_KAFKA": pipeline.kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": pipeline.topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": pipeline.topics.balances,
        "LIVEBALANCE_LIFECYCLE_TOPIC": pipeline.topics.lifecycle,
        "LIVEBALANCE_POSTGRES": pipeline.database.url("operator"),
    }
    return await run_command(environment, "lane", *words)


async def test_skipped_record_is_kept_and_the_lane_continues_after_it(pipeline: Pipeline) -> None:
    topic = pipeline.topics.transfers
    async with pipeline.running(max_consecutive_rejects=0):
        await pipeline.write([transfer("alice", "t-1", 1)], 0)
        await pipeline.write_raw(topic, b"alice", b"bad", 0)
        await pipeline.write([transfer("alice", "t-2", 1)], 0)
        reason = await halt_reason(pipeline)
        result = await lane(pipeline, "skip", "0", "--topic", topic, "--reason", "garbage")
        assert (result.code, result.err) == (0, "")
        assert result.out == f"Skipped {topic}/0@1. Lane 0 is still halted.\n"
        assert await pipeline.query(NEXT) == [(2, 0, True)]
        assert (await lane(pipeline, "continue", "0", "--reason", "garbage")).code == 0
        await pipeline.wait_for("select count(*)::int from transfer", 2)
        [row] = await pipeline.query("select * from quarantine")
        assert (row["state"], row["reason"]) == ("skipped", "skipped by an operator")
        assert (row["source_offset"], row["key"], row["value"]) == (1, b"alice", b"bad")
        assert decode_headers(row["header_bytes"]) == ((b"h", b"\x00\xff"),)
        [note, _] = await pipeline.query(
            "select what, lane, was, became, by, why from intervention order by id"
        )
        assert tuple(note) == ("skip", 0, f"{topic}/0@1: {reason}", None, "operator", "garbage")
    assert await pipeline.transfer_ids("alice") == ["t-1", "t-2"]


async def test_record_of_the_lifecycle_topic_is_skipped(pipeline: Pipeline) -> None:
    topic = pipeline.topics.lifecycle
    async with pipeline.running(max_consecutive_rejects=0):
        await pipeline.write_raw(topic, b"alice", b"bad", 0)
        await halt_reason(pipeline)
        result = await lane(pipeline, "skip", "0", "--topic", topic, "--reason", "garbage")
        assert (result.code, result.err) == (0, "")
        assert (await lane(pipeline, "continue", "0", "--reason", "garbage")).code == 0
        await write_opening(pipeline, "alice", 100)
        await pipeline.wait_for("select opening_known from balance", True)
    assert await pipeline.query("select lifecycle_next from lane where lane = 0") == [(2,)]


async def test_skipped_record_can_be_replayed(pipeline: Pipeline) -> None:
    topic = pipeline.topics.transfers
    async with pipeline.running(max_consecutive_rejects=0):
        await pipeline.write_raw(topic, b"alice", b"bad", 0)
        await halt_reason(pipeline)
        result = await lane(pipeline, "skip", "0", "--topic", topic, "--reason", "later", "--json")
        assert json.loads(result.out) == {"lane": 0, "topic": topic, "offset": 0}
        await lane(pipeline, "continue", "0", "--reason", "later")
        value = avro.encode_transfer(transfer("alice", "t-1", 1), TRANSFER_ID)
        await pipeline.query("update quarantine set value = $1", value)
        environment = {"LIVEBALANCE_POSTGRES": pipeline.database.url("operator")}
        await run_command(environment, "quarantine", "replay", "1", "--reason", "repaired")
        await pipeline.wait_for("select state from quarantine", "applied")


@pytest.mark.parametrize("side", ["running", "no record", "other topic"])
async def test_nothing_is_skipped(pipeline: Pipeline, side: str) -> None:
    topic, other = pipeline.topics.transfers, pipeline.topics.balances
    async with pipeline.running(max_consecutive_rejects=0):
        if side != "running":
            await pipeline.write_raw(topic, b"alice", b"bad", 0)
            await halt_reason(pipeline)
        await pipeline.wait_for("select count(*)::int from lane", 3)
        words, error = {
            "running": (topic, "lane 0 is not halted, or does not exist"),
            "no record": (other, f"{other} has no record at 0 or after it"),
            "other topic": ("orders", f"the topics are {topic}, {other}, {pipeline.topics.lifecycle}"),
        }[side]
        result = await lane(pipeline, "skip", "0", "--topic", words, "--reason", "a mistake")
    assert (result.code, result.out) == (1, "")
    assert result.err == f"livebalance: no record was skipped: {error}\n"
    assert await pipeline.query("select from quarantine") == []
    assert await pipeline.query("select from intervention") == []
