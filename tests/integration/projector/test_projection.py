"""The whole way of a record: from Kafka to Postgres and Redis."""

import json
import time
from decimal import Decimal

import httpx
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from livebalance.stack.paths import free_port
from livebalance.wire.delta import split_delta_frame
from livebalance.wire.kafka.headers import decode_headers
from tests.integration.projector.pipeline import TIME_MS, Pipeline, balance, history, transfer
from tests.integration.projector.redis_listener import redis_listener


async def test_records_become_rows(pipeline: Pipeline) -> None:
    pipeline.start()
    records = history("alice", [500, -200]) + history("bob", [100])
    await pipeline.write(records)
    await pipeline.wait_until_applied(records)
    await pipeline.assert_exact(records)
    alice = (await pipeline.accounts())["alice"]
    assert (alice["balance"], alice["posted_total"], alice["opening"]) == (Decimal(3), Decimal(3), 0)
    assert (alice["currency"], alice["client_id"], alice["scale"]) == ("EUR", "client", 2)
    [first, second] = await pipeline.query(
        "select * from transfer where account_id = 'alice' order by revision"
    )
    assert (first["amount"], second["total"]) == (Decimal("5.00"), Decimal("3.00"))
    assert first["occurred_at"].timestamp() * 1000 == TIME_MS
    assert abs(first["recorded_at"].timestamp() - time.time()) < 60
    assert (first["topic"], first["source_offset"]) == (pipeline.topics.transfers, 0)


async def test_each_change_is_published_after_the_commit(pipeline: Pipeline) -> None:
    async with redis_listener(pipeline.redis, pipeline.prefix) as listener, pipeline.running():
        await pipeline.write(history("alice", [500]))
        await listener.wait_for_revision("alice", 3)
        await pipeline.write([transfer("alice", "t-2", 70)])
        await listener.wait_for_revision("alice", 4)
        chain = listener.revisions("alice")
        assert [from_ for from_, _ in chain] == [0, *[to for _, to in chain[:-1]]]
        last = listener.deltas[-1][1]
        shown = json.loads(split_delta_frame(last.text).balance)
        assert (shown["amount"], shown["half_applied"], shown["drift"]) == ("5.00", "0.70", "0.00")
        [epoch] = await pipeline.query("select epoch from projection")
        assert last.epoch == epoch[0]


async def test_records_of_kafka_transactions_are_applied_after_their_commit(pipeline: Pipeline) -> None:
    records = history("alice", range(1, 5))
    async with pipeline.running():
        await pipeline.write_in_transactions(records, pipeline.prefix)
        await pipeline.wait_until_applied(records)
        await pipeline.wait_for("select count(*)::int from lane where as_of > now() - interval '3 s'", 3)
    await pipeline.assert_exact(records)


async def test_record_of_an_aborted_transaction_is_not_applied(pipeline: Pipeline) -> None:
    async with pipeline.open_transaction(transfer("alice", "aborted", 1)):
        pass
    await pipeline.write([transfer("alice", "t-1", 1)])
    async with pipeline.running():
        await pipeline.wait_for("select bool_or(transfer_id = 't-1') from transfer", True)
    assert await pipeline.transfer_ids("alice") == ["t-1"]


async def test_invalid_records_are_quarantined(pipeline: Pipeline) -> None:
    topics = pipeline.topics
    async with pipeline.running():
        await pipeline.write_raw(topics.transfers, b"alice", b"\x00\x00\x00\x00\x01\xff", 0)
        await pipeline.write_raw(topics.transfers, None, b"no", 1)
        await pipeline.write([transfer("alice", "t", 1)])
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        await pipeline.wait_for("select count(*)::int from quarantine", 2)
    [first, second] = await pipeline.query("select * from quarantine order by partition")
    assert (first["key"], first["value"]) == (b"alice", b"\x00\x00\x00\x00\x01\xff")
    assert (first["topic"], first["source_offset"], first["state"]) == (topics.transfers, 0, "held")
    assert decode_headers(first["header_bytes"]) == ((b"h", b"\x00\xff"),)
    assert (second["key"], second["reason"]) == (None, "not Confluent-framed")


async def test_records_beyond_the_scale_of_the_deployment_are_quarantined(pipeline: Pipeline) -> None:
    async with pipeline.running(max_scale=2):
        await pipeline.write([transfer("alice", "t", 1, 3), balance("alice", 0, "", 0, 18)], 0)
        await pipeline.write([transfer("alice", "t", 1, 2)], 0)
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        await pipeline.wait_for("select count(*)::int from quarantine", 2)
    rows = await pipeline.query("select distinct reason from quarantine")
    assert [row["reason"] for row in rows] == ["scale is not 0..2"]


async def test_contradiction_disputes_the_account_and_other_records_are_applied(pipeline: Pipeline) -> None:
    async with pipeline.running():
        await pipeline.write([transfer("alice", "t", 1), transfer("alice", "t", 2), transfer("bob", "t", 3)])
        await pipeline.wait_for("select count(*)::int from balance where revision = transfer_count", 1)
        await pipeline.wait_for(
            "select disputed_why from balance where account_id = 'alice'",
            "this transfer id stands for another transfer",
        )
        assert await pipeline.transfer_ids("alice") == ["t"]


async def test_null_erases_the_account(pipeline: Pipeline) -> None:
    records = history("alice", [1, 2])
    async with redis_listener(pipeline.redis, pipeline.prefix) as listener, pipeline.running():
        await pipeline.write(records)
        await pipeline.wait_until_applied(records)
        await pipeline.write_raw(pipeline.topics.balances, b"alice", None)
        await listener.wait_for_revision("alice", 6)
        assert listener.deltas[-1][1].gone
        row = (await pipeline.accounts())["alice"]
        assert (row["revision"], row["balance"], row["transfer_count"]) == (6, None, 0)
        await pipeline.wait_for("select count(*)::int from transfer", 0)
        await pipeline.write([transfer("alice", "t-1", 5)])
        await listener.wait_for_revision("alice", 7)


async def test_quiet_lanes_publish_their_progress(pipeline: Pipeline) -> None:
    async with redis_listener(pipeline.redis, pipeline.prefix) as listener, pipeline.running():
        await pipeline.wait_for("select count(*)::int from lane where as_of > now() - interval '2 s'", 3)
        [before] = await pipeline.query("select min(as_of) from lane")
        await pipeline.wait_for(f"select min(as_of) > '{before[0]}' from lane", True)
        assert {progress.lane for progress in listener.progress} == {0, 1, 2}
        assert not any(progress.behind for progress in listener.progress)


async def test_offsets_and_epoch_are_committed_to_the_group(pipeline: Pipeline) -> None:
    records = [balance("alice", 0, "", 1), balance("alice", 1, "t", 2)]
    async with pipeline.running():
        await pipeline.write(records, 1)
        await pipeline.wait_until_applied(records)
    admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.kafka)
    await admin.start()
    try:
        at = TopicPartition(pipeline.topics.balances, 1)
        offsets = await admin.list_consumer_group_offsets(
            pipeline.settings().projector_group, partitions=[at]
        )
    finally:
        await admin.close()
    [epoch] = await pipeline.query("select epoch from projection")
    assert offsets[at] == (2, epoch[0])


async def test_http_endpoint_serves_readiness_and_metrics(pipeline: Pipeline) -> None:
    records, port = history("alice", [1]), free_port()
    child = pipeline.start(http_port=port)
    await pipeline.write(records)
    await pipeline.wait_until_applied(records)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        assert (await client.get("/readyz")).status_code == 200
        said = (await client.get("/metrics")).text
    assert "livebalance_projector_records_applied_total 3.0" in said
    assert 'livebalance_projector_lanes{state="running"} 3.0' in said
    child.stop()
    assert child.exit_code == 0


async def test_restarted_projector_continues(pipeline: Pipeline) -> None:
    records = history("alice", range(1, 6))
    async with pipeline.running():
        await pipeline.write(records[:6])
        await pipeline.wait_until_applied(records[:6])
    async with pipeline.running():
        await pipeline.write(records[6:])
        await pipeline.wait_until_applied(records)
    await pipeline.assert_exact(records)
