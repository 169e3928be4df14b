"""`livebalance lane go-on`: a halted lane is read again, by the projector that runs, and a row says why."""

import json

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from tests.integration.cli.operator import Said, said
from tests.integration.projector.test_halts import HALTED, others_go_on, recreate
from tests.integration.projector.world import World, balance, history, transfer

EPOCHS = (
    "select count(distinct epoch)::int from (select epoch from projection union all select epoch from lane)"
)
RUNNING = "select count(*)::int from lane where halted_why is null"


async def goes_on(world: World, *words: str) -> Said:
    environment = {
        "LIVEBALANCE_KAFKA": world.kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": world.topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": world.topics.balances,
        "LIVEBALANCE_POSTGRES": world.database.url("operator"),
    }
    return await said(environment, "lane", "go-on", *words)


async def halted(world: World) -> str:
    """Lane 0, and no other: why."""
    await world.until("select count(*)::int from lane where halted_why is not null", 1)
    [row] = await world.ask(HALTED)
    return str(row[0]).removeprefix("0: ")


async def test_refused_records_are_put_aside_and_the_good_ones_after_them_applied(world: World) -> None:
    async with world.running(max_consecutive_rejects=3):
        for _ in range(6):
            await world.write_raw(world.topics.transfers, b"alice", b"bad", 0)
        was = await halted(world)
        await world.write([transfer("alice", "good", 1)], 0)
        done = await goes_on(world, "0", "--why", "the producer is mended")
        assert (done.code, done.err) == (0, "")
        assert done.out == f"Lane 0 goes on. It was halted: {was}.\n"
        await world.until("select count(*)::int from transfer", 1)
        assert len(await world.ask("select from quarantine")) == 6
        assert await world.ask(RUNNING) == [(3,)]
    [note] = await world.ask("select what, lane, was, became, by, why from intervention")
    assert tuple(note) == ("lane", 0, was, None, "operator", "the producer is mended")


async def test_what_is_not_over_halts_it_again(world: World) -> None:
    async with world.running(max_consecutive_rejects=3):
        for _ in range(8):
            await world.write_raw(world.topics.transfers, b"alice", b"bad", 0)
        was = await halted(world)
        assert (await goes_on(world, "0", "--why", "in a hurry")).code == 0
        await world.until("select count(*)::int from quarantine", 6)
        assert await halted(world) == was
        await others_go_on(world)


async def test_a_topic_made_anew_is_read_from_its_first_record(world: World) -> None:
    """It holds what was applied before, and more: that is listed once."""
    fed = history("alice", [1, 2, 3])
    async with world.running():
        await world.write(fed[:5], 0)
        await world.applied(fed[:5])
        [[epoch]] = await world.ask("select epoch from projection")
    await recreate(world)
    async with world.running():
        was = await halted(world)
        assert (await goes_on(world, "0", "--why", "too early")).code == 0
        await world.until(HALTED, f"0: {was}")
        await world.write(fed, 0)
        done = await goes_on(world, "0", "--why", "made anew", "--from-first", "--json")
        assert (done.code, done.err) == (0, "")
        told = json.loads(done.out)
        assert told == {"lane": 0, "was": was, "epoch": told["epoch"]}
        assert told["epoch"] != epoch
        await world.applied(fed)
        await others_go_on(world)
        assert await world.ask("select distinct epoch from lane") == [(told["epoch"],)]
    assert await world.transfer_ids("alice") == ["t-1", "t-2", "t-3"]
    [row] = await world.ask(
        "select drift, half_applied, disputed_since from balance where account_id = 'alice'"
    )
    assert tuple(row) == (0, 0, None)


async def test_lost_history_is_left_out(world: World) -> None:
    """The account shows that something is missing; others of the lane are right."""
    fed = history("alice", [1, 2, 3])
    async with world.running():
        await world.write(fed[:3], 0)
        await world.applied(fed[:3])
    await world.write([transfer("alice", "lost", 5), *fed[3:]], 0)
    await world.write([balance("bob", 0, "", 0), transfer("bob", "b", 7), balance("bob", 1, "b", 7)], 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka)
    await admin.start()
    try:
        lost = {TopicPartition(world.topics.transfers, 0): RecordsToDelete(before_offset=3)}
        await admin.delete_records(lost)
    finally:
        await admin.close()
    async with world.running():
        assert "history was lost" in await halted(world)
        assert (await goes_on(world, "0", "--why", "gone for good", "--from-first")).code == 0
        await world.until("select count(*)::int from transfer where account_id = 'bob'", 1)
        await world.until("select version from balance where account_id = 'alice'", 3)
        await world.until("select drift::int from balance where account_id = 'bob'", 0)
    assert await world.transfer_ids("alice") == ["t-1", "t-3"]
    [row] = await world.ask("select disputed_since is null from balance where account_id = 'alice'")
    assert row[0] is False


@pytest.mark.parametrize("number", ["0", "7"])
async def test_what_is_not_halted_is_left_alone(world: World, number: str) -> None:
    async with world.running():
        await world.until(RUNNING, 3)
        done = await goes_on(
            world, number, "--why", "a mistake", "--from-first" if number == "0" else "--json"
        )
    assert (done.code, done.out) == (1, "")
    assert done.err == f"livebalance: the lane does not go on: there is no halted lane {number}\n"
    assert await world.ask("select from intervention") == []
    assert await world.ask(EPOCHS) == [(1,)]
