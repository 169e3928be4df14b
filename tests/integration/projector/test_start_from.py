"""A projection that starts at a time: earlier transfers are known only through balances."""

import time
from datetime import UTC, datetime
from decimal import Decimal

from livebalance.projector.kafka.start_offsets import lane_starts
from livebalance.readmodel.rows import lanes_from_start
from tests.integration.projector.pipeline import Pipeline, history, wait_until


async def test_transfers_are_read_from_the_start_time(pipeline: Pipeline) -> None:
    early, late = history("alice", [500, -200, 40]), history("bob", [100])
    await pipeline.write(early[:5])  # the opening, and two transfers with their balances
    start = datetime.fromtimestamp(time.time() + 0.002, UTC)
    await wait_until(lambda: time.time() > start.timestamp() + 0.002)
    await pipeline.write(early[5:] + late)
    pipeline.start(start_from=start)
    await pipeline.wait_for("select count(*)::int from balance where version > 0 and drift = 0", 2)
    assert await pipeline.transfer_ids("alice") == [early[5].id]  # type: ignore[union-attr]  # a transfer
    accounts = await pipeline.accounts()
    assert [(row["balance"], row["opening"], row["disputed_since"]) for row in accounts.values()] == [
        (Decimal(str(early[-1].amount)), Decimal(str(early[4].amount)), None),
        (Decimal(str(late[-1].amount)), Decimal(str(late[0].amount)), None),
    ]
    [[cut]] = await pipeline.query("select bool_or(from_start) from lane")
    assert not cut


async def test_lane_starts_follow_from_the_start_time(pipeline: Pipeline) -> None:
    await pipeline.write(history("alice", [500, -200]))
    assert await lane_starts(pipeline.settings()) == lanes_from_start(pipeline.topics.partitions)
    soon = datetime.fromtimestamp(time.time() + 3600, UTC)
    future = await lane_starts(pipeline.settings(start_from=soon))
    assert sum(start.transfers for start in future) == 2  # the end, if no record is that new
    assert [start.balances for start in future] == [0] * pipeline.topics.partitions
    past = await lane_starts(pipeline.settings(start_from=datetime.fromtimestamp(0, UTC)))
    assert [start.transfers for start in past] == [0] * pipeline.topics.partitions
    assert not any(start.from_start for start in past)
