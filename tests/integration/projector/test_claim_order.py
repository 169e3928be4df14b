"""The order of a claim's steps: what another owner between two of them would break."""

from contextlib import AsyncExitStack

import pytest

from livebalance.projector.postgres.store import Store
from livebalance.readmodel.rows import LaneRow, TopicIds
from livebalance.wire.identity import Lane
from tests.integration.projector.pipeline import Pipeline, transfer
from tests.integration.projector.test_halted_lanes import HALTED

COUNT = "select count(*)::int from transfer"
OWNED_OR_HALTED = "select bool_and(owner = 'next') or bool_or(halted_why is not null) from lane"
LISTED_OR_HALTED = (
    "select (select count(*) = 3 from transfer) or exists (select from lane where halted_why is not null)"
)


async def test_claim_compares_offsets_that_kafka_has_after_the_fence(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The previous owner applies a record while the next owner claims, just before it is fenced."""
    claim_lane = Store.claim_lane
    async with AsyncExitStack() as previous:
        await previous.enter_async_context(pipeline.running("previous"))
        await pipeline.write([transfer("alice", "t-0", 1)], 0)
        await pipeline.wait_for(COUNT, 1)

        async def claim_after_a_batch(store: Store, lane: Lane, ids: TopicIds) -> LaneRow:
            if store._name == "next":
                monkeypatch.setattr(Store, "claim_lane", claim_lane)
                await pipeline.write([transfer("alice", "t-1", 1)], 0)
                await pipeline.wait_for(COUNT, 2)
                await previous.aclose()
            return await claim_lane(store, lane, ids)

        monkeypatch.setattr(Store, "claim_lane", claim_after_a_batch)
        async with pipeline.running("next", projector_group=f"next-{pipeline.prefix}"):
            await pipeline.wait_for(OWNED_OR_HALTED, True)
            await pipeline.write([transfer("alice", "t-2", 1)], 0)
            await pipeline.wait_for(LISTED_OR_HALTED, True)
            assert await pipeline.query(HALTED) == [(None,)]
    assert await pipeline.transfer_ids("alice") == ["t-0", "t-1", "t-2"]
