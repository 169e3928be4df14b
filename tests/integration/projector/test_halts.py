"""A broken invariant halts one lane, with the reason on its row; the others go on."""

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from livebalance.runtime.kafka.connection import Broker
from tests.integration.projector.world import World, transfer

HALTED = "select string_agg(lane || ': ' || halted_why, ', ') from lane where halted_why is not null"


async def others_go_on(world: World) -> None:
    [row] = await world.ask("select count(*)::int from transfer")
    await world.write([transfer("other", "t", 1)], 1)
    await world.until("select count(*)::int from transfer", row[0] + 1)


async def recreate(world: World) -> None:
    """Both topics, empty."""
    await world.topics.delete(Broker(world.kafka))
    await world.topics.create(Broker(world.kafka))


async def test_too_many_refused_records_in_a_row(world: World) -> None:
    async with world.running(max_consecutive_rejects=3):
        await world.write([transfer("alice", "t", 1)], 0)
        for _ in range(6):
            await world.write_raw(world.topics.transfers, b"alice", b"bad", 0)
        await world.until(HALTED, "0: more than 3 consecutive records were rejected")
        await others_go_on(world)
    [row] = await world.ask("select transfers_next from lane where lane = 0")
    assert row[0] == 4
    assert len(await world.ask("select from quarantine")) == 3


async def test_a_topic_made_anew_and_shorter(world: World) -> None:
    async with world.running():
        await world.write([transfer("alice", str(number), 1) for number in range(3)], 0)
        await world.until("select count(*)::int from transfer", 3)
    await recreate(world)
    async with world.running():
        await world.until(
            HALTED, f"0: {world.topics.transfers} ends at 0 but 3 comes next: the topic was recreated"
        )
        await others_go_on(world)


async def test_a_topic_made_anew_with_other_records(world: World) -> None:
    async with world.running():
        await world.write([transfer("alice", str(number), 1) for number in range(3)], 0)
        await world.until("select count(*)::int from transfer", 3)
    await recreate(world)
    await world.write([transfer("alice", f"new-{number}", 1) for number in range(5)], 0)
    async with world.running():
        await world.until(
            HALTED,
            f"0: {world.topics.transfers} holds another record at 2 now: the topic was recreated",
        )
        await others_go_on(world)
    assert await world.transfer_ids("alice") == ["0", "1", "2"]


async def test_history_lost_to_retention(world: World) -> None:
    async with world.running():
        await world.write([transfer("alice", "0", 1)], 0)
        await world.until("select count(*)::int from transfer", 1)
    await world.write([transfer("alice", str(number), 1) for number in range(1, 5)], 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(world.topics.transfers, 0): RecordsToDelete(before_offset=3)}
        )
    finally:
        await admin.close()
    async with world.running():
        await world.until(
            HALTED, f"0: {world.topics.transfers} begins at 3 but 1 comes next: history was lost"
        )
        await others_go_on(world)


async def test_a_halted_lane_stays_halted_when_it_is_claimed_again(world: World) -> None:
    async with world.running():
        await world.until("select count(distinct owner)::int from lane", 1)
    await world.ask("update lane set halted_why = 'because' where lane = 0")
    async with world.running():
        await world.write([transfer("alice", "t", 1)], 0)
        await others_go_on(world)
    assert await world.transfer_ids("alice") == []
    await world.ask("update lane set halted_why = null")
    async with world.running():
        await world.until("select count(*)::int from transfer", 2)
