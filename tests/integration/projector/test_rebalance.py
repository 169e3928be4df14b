"""After a rebalance, records that were fetched from the group's offsets are not applied.

See docs/guarantees.md#assignment.
"""

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
from tests.integration.projector.pipeline import Pipeline, transfer, wait_until

# Offsets of each lane: stored in Postgres, committed to the group, end of the partition.
STORED, COMMITTED, END = 3, 8, 10


@asynccontextmanager
async def another_member(pipeline: Pipeline) -> AsyncIterator[None]:
    """Runs a member that joins the group, so that the assignment changes."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=pipeline.kafka,
        group_id=pipeline.settings().projector_group,
        partition_assignment_strategy=[RangePartitionAssignor],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.subscribe([pipeline.topics.transfers, pipeline.topics.balances])
    await consumer.start()
    try:
        yield
    finally:
        await consumer.stop()


async def rebalance_during_fetch(pipeline: Pipeline, patch: pytest.MonkeyPatch) -> None:
    """Rebalances while a fetch is under way, in a group whose offsets are ahead of Postgres."""
    gate = asyncio.Event()
    gate.set()
    fetch = LaneConsumer.fetch

    async def fetch_after_gate(
        consumer: LaneConsumer, lanes: Collection[Lane]
    ) -> dict[Lane, tuple[Records, Records]]:
        await gate.wait()
        return await fetch(consumer, lanes)

    async def commit_nothing(consumer: LaneConsumer, lanes: object) -> None:
        pass

    patch.setattr(LaneConsumer, "fetch", fetch_after_gate)
    patch.setattr(LaneConsumer, "commit", commit_nothing)
    async with pipeline.running() as projector:
        for partition in range(3):
            await pipeline.write([transfer(f"acc-{partition}", str(n), 1) for n in range(STORED)], partition)
        await pipeline.wait_for("select count(*)::int from transfer", 3 * STORED)
        gate.clear()
        for partition in range(3):
            await pipeline.write(
                [transfer(f"acc-{partition}", str(n), 1) for n in range(STORED, END)], partition
            )
        await commit_ahead(pipeline, projector)
        async with another_member(pipeline):
            consumer = projector._consumer._consumer
            await wait_until(lambda: 0 < len(consumer.assignment()) < 6)
            kept = sorted({at.partition for at in consumer.assignment()})
            gate.set()
            await pipeline.wait_for(f"select min(transfers_next)::int from lane where lane = {kept[0]}", END)
            assert await pipeline.transfer_ids(f"acc-{kept[0]}") == [str(n) for n in range(END)]


async def test_assignment_that_changes_during_a_status_read_is_claimed_again(pipeline: Pipeline) -> None:
    """The assignment changes after its number was compared, and before the state of a lane is read."""
    async with pipeline.running() as projector:
        await wait_until(lambda: projector._lanes is not None)
        consumer, done, held, claimed = (
            projector._consumer,
            projector._after_commit.done,
            asyncio.Event(),
            projector._assignment_number,
        )

        async def done_after_rebalance() -> None:
            if not held.is_set():
                held.set()
                await wait_until(lambda: consumer.assignment_number >= claimed + 2)
            await done()

        projector._after_commit.done = done_after_rebalance  # type: ignore[method-assign]
        await held.wait()
        async with another_member(pipeline):
            await wait_until(
                lambda: (
                    claimed < projector._assignment_number == consumer.assignment_number
                    and projector._lanes is not None
                )
            )


async def commit_ahead(pipeline: Pipeline, projector: Projector) -> None:
    ahead = {TopicPartition(pipeline.topics.transfers, partition): COMMITTED for partition in range(3)}
    equal = {TopicPartition(pipeline.topics.balances, partition): 0 for partition in range(3)}
    await projector._consumer._consumer.commit({**ahead, **equal})


async def test_records_of_another_assignment_are_not_applied(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rebalance_during_fetch(pipeline, monkeypatch)


@pytest.mark.mutant
async def test_without_assignment_numbers_records_are_skipped(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assigned = RebalanceListener.on_partitions_assigned

    def count_once(self: RebalanceListener, partitions: set[TopicPartition]) -> None:
        if self.number == 0:
            assigned(self, partitions)

    async def write_nothing(self: Projector) -> None:
        """The original reads the state of revoked lanes, and might fail before a wrong batch is applied."""

    monkeypatch.setattr(Projector, "_write_progress", write_nothing)
    monkeypatch.setattr(RebalanceListener, "on_partitions_revoked", lambda self, revoked: None)
    monkeypatch.setattr(RebalanceListener, "on_partitions_assigned", count_once)
    with pytest.raises(AssertionError, match=r"\['0', '1', '2', '8', '9'\]"):
        await rebalance_during_fetch(pipeline, monkeypatch)
