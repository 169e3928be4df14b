"""From Kafka to Postgres and Redis."""

import json
import time
from decimal import Decimal

import httpx
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from livebalance.stack.paths import free_port
from livebalance.wire.delta import split_delta_frame
from tests.integration.projector.bell import hearing
from tests.integration.projector.world import TIME_MS, World, balance, history, transfer


async def test_records_become_rows(world: World) -> None:
    world.start()
    fed = history("alice", [500, -200]) + history("bob", [100])
    await world.write(fed)
    await world.applied(fed)
    await world.is_exact(fed)
    alice = (await world.accounts())["alice"]
    assert (alice["balance"], alice["posted_total"], alice["opening"]) == (Decimal(3), Decimal(3), 0)
    assert (alice["currency"], alice["client_id"], alice["scale"]) == ("EUR", "client", 2)
    [first, second] = await world.ask("select * from transfer where account_id = 'alice' order by revision")
    assert (first["amount"], second["total"]) == (Decimal("5.00"), Decimal("3.00"))
    assert first["occurred_at"].timestamp() * 1000 == TIME_MS
    assert abs(first["recorded_at"].timestamp() - time.time()) < 60
    assert (first["topic"], first["source_offset"]) == (world.topics.transfers, 0)


async def test_each_change_is_published_after_it_stands(world: World) -> None:
    async with hearing(world.redis, world.prefix) as bell, world.running():
        await world.write(history("alice", [500]))
        await bell.reaches("alice", 3)
        await world.write([transfer("alice", "t-2", 70)])
        await bell.reaches("alice", 4)
        chain = bell.chain("alice")
        assert [from_ for from_, _ in chain] == [0, *[to for _, to in chain[:-1]]]
        last = bell.deltas[-1][1]
        shown = json.loads(split_delta_frame(last.text).balance)
        assert (shown["amount"], shown["half_applied"], shown["drift"]) == ("5.00", "0.70", "0.00")
        [epoch] = await world.ask("select epoch from projection")
        assert last.epoch == epoch[0]


async def test_transactions_of_kafka_are_read_when_they_are_committed(world: World) -> None:
    fed = history("alice", range(1, 5))
    async with world.running():
        await world.write_in_transactions(fed, world.prefix)
        await world.applied(fed)
        await world.until("select count(*)::int from lane where as_of > now() - interval '3 s'", 3)
    await world.is_exact(fed)


async def test_what_may_not_be_applied_is_kept_aside(world: World) -> None:
    topics = world.topics
    async with world.running():
        await world.write_raw(topics.transfers, b"alice", b"\x00\x00\x00\x00\x01\xff", 0)
        await world.write_raw(topics.transfers, None, b"no", 1)
        await world.write([transfer("alice", "t", 1)])
        await world.until("select count(*)::int from transfer", 1)
        await world.until("select count(*)::int from quarantine", 2)
    [first, second] = await world.ask("select * from quarantine order by partition")
    assert (first["key"], first["value"]) == (b"alice", b"\x00\x00\x00\x00\x01\xff")
    assert (first["topic"], first["source_offset"], first["state"]) == (topics.transfers, 0, "held")
    assert json.loads(first["headers"]) == [["h", "00ff"]]
    assert (second["key"], second["reason"]) == (None, "not Confluent-framed")


async def test_a_contradiction_disputes_the_account_and_stops_nothing(world: World) -> None:
    async with world.running():
        await world.write([transfer("alice", "t", 1), transfer("alice", "t", 2), transfer("bob", "t", 3)])
        await world.until("select count(*)::int from balance where revision = transfer_count", 1)
        await world.until(
            "select disputed_why from balance where account_id = 'alice'",
            "this transfer id stands for another transfer",
        )
        assert await world.transfer_ids("alice") == ["t"]


async def test_a_null_erases_the_account(world: World) -> None:
    fed = history("alice", [1, 2])
    async with hearing(world.redis, world.prefix) as bell, world.running():
        await world.write(fed)
        await world.applied(fed)
        await world.write_raw(world.topics.balances, b"alice", None)
        await bell.reaches("alice", 6)
        assert bell.deltas[-1][1].gone
        row = (await world.accounts())["alice"]
        assert (row["revision"], row["balance"], row["transfer_count"]) == (6, None, 0)
        assert await world.count() == 0
        await world.write([transfer("alice", "t-1", 5)])
        await bell.reaches("alice", 7)


async def test_quiet_lanes_say_how_far_they_are_complete(world: World) -> None:
    async with hearing(world.redis, world.prefix) as bell, world.running():
        await world.until("select count(*)::int from lane where as_of > now() - interval '2 s'", 3)
        [before] = await world.ask("select min(as_of) from lane")
        await world.until(f"select min(as_of) > '{before[0]}' from lane", True)
        assert {one.lane for one in bell.progress} == {0, 1, 2}
        assert not any(one.behind for one in bell.progress)


async def test_the_group_is_told_where_the_lane_stands(world: World) -> None:
    fed = [balance("alice", 0, "", 1), balance("alice", 1, "t", 2)]
    async with world.running():
        await world.write(fed, 1)
        await world.applied(fed)
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await admin.start()
    try:
        at = TopicPartition(world.topics.balances, 1)
        marks = await admin.list_consumer_group_offsets(world.settings().projector_group, partitions=[at])
    finally:
        await admin.close()
    [epoch] = await world.ask("select epoch from projection")
    assert marks[at] == (2, epoch[0])


async def test_its_door_tells_how_it_is(world: World) -> None:
    fed, port = history("alice", [1]), free_port()
    child = world.start(http_port=port)
    await world.write(fed)
    await world.applied(fed)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as door:
        assert (await door.get("/readyz")).status_code == 200
        said = (await door.get("/metrics")).text
    assert "livebalance_projector_records_applied_total 3.0" in said
    assert 'livebalance_projector_lanes{state="running"} 3.0' in said
    child.stop()
    assert child.exit_code == 0


async def test_a_projector_that_starts_again_goes_on(world: World) -> None:
    fed = history("alice", range(1, 6))
    async with world.running():
        await world.write(fed[:6])
        await world.applied(fed[:6])
    async with world.running():
        await world.write(fed[6:])
        await world.applied(fed)
    await world.is_exact(fed)
