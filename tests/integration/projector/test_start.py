"""A projection that begins at a time: of what was before, only what balances say is known."""

import time
from datetime import UTC, datetime
from decimal import Decimal

from livebalance.projector.kafka.start_offsets import lane_starts
from livebalance.readmodel.rows import whole
from tests.integration.projector.world import World, history, reached


async def test_transfers_are_read_from_a_time_on(world: World) -> None:
    early, late = history("alice", [500, -200, 40]), history("bob", [100])
    await world.write(early[:5])  # opened, and two transfers with their balances
    start = datetime.fromtimestamp(time.time() + 0.002, UTC)
    await reached(lambda: time.time() > start.timestamp() + 0.002)
    await world.write(early[5:] + late)
    world.start(start_from=start)
    await world.until("select count(*)::int from balance where version > 0 and drift = 0", 2)
    assert await world.transfer_ids("alice") == [early[5].id]  # type: ignore[union-attr]  # a transfer
    accounts = await world.accounts()
    assert [(row["balance"], row["opening"], row["disputed_since"]) for row in accounts.values()] == [
        (Decimal(str(early[-1].amount)), Decimal(str(early[4].amount)), None),
        (Decimal(str(late[-1].amount)), Decimal(str(late[0].amount)), None),
    ]
    [[cut]] = await world.ask("select bool_or(from_start) from lane")
    assert not cut


async def test_it_is_asked_of_kafka_where_that_is(world: World) -> None:
    await world.write(history("alice", [500, -200]))
    assert await lane_starts(world.settings()) == whole(world.topics.partitions)
    soon = datetime.fromtimestamp(time.time() + 3600, UTC)
    late = await lane_starts(world.settings(start_from=soon))
    assert sum(one.transfers for one in late) == 2  # nothing is that new: where the next will be
    assert [one.balances for one in late] == [0] * world.topics.partitions
    past = await lane_starts(world.settings(start_from=datetime.fromtimestamp(0, UTC)))
    assert [one.transfers for one in past] == [0] * world.topics.partitions
    assert not any(one.from_start for one in past)
