"""After a rebalance nothing is used that was read from where Kafka's group, not Postgres, says."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from livebalance.projector.kafka.consumer import LaneConsumer, Records
from livebalance.projector.projector import Projector
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.wire.identity import Lane
from tests.integration.projector.world import World, reached, transfer

STORED, HINT, END = 3, 8, 10  # offsets of each lane: Postgres has, the group says, the log ends


@asynccontextmanager
async def another_member(world: World) -> AsyncIterator[None]:
    """Joins the group, so that the assignment changes."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=world.kafka,
        group_id=world.settings().projector_group,
        partition_assignment_strategy=[RangePartitionAssignor],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.subscribe([world.topics.transfers, world.topics.balances])
    await consumer.start()
    try:
        yield
    finally:
        await consumer.stop()


async def rebalances(world: World, patch: pytest.MonkeyPatch) -> None:
    """A rebalance while a fetch is under way, in a group whose offsets are ahead."""
    gate = asyncio.Event()
    gate.set()
    fetch = LaneConsumer.fetch

    async def held_up(intake: LaneConsumer, lanes: Collection[Lane]) -> dict[Lane, tuple[Records, Records]]:
        await gate.wait()
        return await fetch(intake, lanes)

    async def unmarked(intake: LaneConsumer, lanes: object) -> None:
        pass

    patch.setattr(LaneConsumer, "fetch", held_up)
    patch.setattr(LaneConsumer, "commit", unmarked)
    async with world.running() as projector:
        for partition in range(3):
            await world.write([transfer(f"acc-{partition}", str(n), 1) for n in range(STORED)], partition)
        await world.until("select count(*)::int from transfer", 3 * STORED)
        gate.clear()
        for partition in range(3):
            await world.write(
                [transfer(f"acc-{partition}", str(n), 1) for n in range(STORED, END)], partition
            )
        await hint(world, projector)
        async with another_member(world):
            consumer = projector._consumer._consumer
            await reached(lambda: 0 < len(consumer.assignment()) < 6)
            kept = sorted({at.partition for at in consumer.assignment()})
            gate.set()
            await world.until(f"select min(transfers_next)::int from lane where lane = {kept[0]}", END)
            assert await world.transfer_ids(f"acc-{kept[0]}") == [str(n) for n in range(END)]


async def test_a_lane_that_goes_while_it_is_looked_at(world: World) -> None:
    """The assignment changes after its number was compared, and before the consumer is asked about a lane."""
    async with world.running() as projector:
        await reached(lambda: projector._lanes is not None)
        intake, done, held, claimed = (
            projector._consumer,
            projector._after_commit.done,
            asyncio.Event(),
            projector._assignment_number,
        )

        async def held_up() -> None:
            if not held.is_set():
                held.set()
                await reached(lambda: intake.assignment_number >= claimed + 2)
            await done()

        projector._after_commit.done = held_up  # type: ignore[method-assign]  # what comes before it looks
        await held.wait()
        async with another_member(world):
            await reached(
                lambda: (
                    claimed < projector._assignment_number == intake.assignment_number
                    and projector._lanes is not None
                )
            )


async def hint(world: World, projector: Projector) -> None:
    ahead = {TopicPartition(world.topics.transfers, partition): HINT for partition in range(3)}
    equal = {TopicPartition(world.topics.balances, partition): 0 for partition in range(3)}
    await projector._consumer._consumer.commit({**ahead, **equal})


async def test_the_rule_of_assignment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await rebalances(world, monkeypatch)


@pytest.mark.mutant
async def test_without_it_a_gap_looks_normal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assigned = RebalanceListener.on_partitions_assigned

    def counts_once(self: RebalanceListener, partitions: set[TopicPartition]) -> None:
        if self.number == 0:
            assigned(self, partitions)

    async def says_nothing(self: Projector) -> None:
        """Else it asks for lanes it has lost, and may fail for ever before it reads anything wrong."""

    monkeypatch.setattr(Projector, "_write_progress", says_nothing)
    monkeypatch.setattr(RebalanceListener, "on_partitions_revoked", lambda self, revoked: None)
    monkeypatch.setattr(RebalanceListener, "on_partitions_assigned", counts_once)
    with pytest.raises(AssertionError, match=r"\['0', '1', '2', '8', '9'\]"):
        await rebalances(world, monkeypatch)
