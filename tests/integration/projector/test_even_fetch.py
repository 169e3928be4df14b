"""A backlog is fetched evenly from both topics, so a transfer and its balance arrive close together."""

from livebalance.projector.fold.lane import LaneSide, OwnedLane
from livebalance.projector.kafka.consumer import LaneConsumer
from livebalance.wire.identity import Epoch, Lane, Offset
from tests.integration.projector.pipeline import Pipeline, history, wait_until

TRANSFERS, BATCH = 400, 60
EPOCH = Epoch("00000000000000a1")


def lane_from_start(pipeline: Pipeline, lane: Lane) -> OwnedLane:
    transfers, balances = (
        LaneSide(topic, Offset(0), None, None)
        for topic in (pipeline.topics.transfers, pipeline.topics.balances)
    )
    return OwnedLane(lane, 1, EPOCH, transfers, balances, None)


async def test_backlog_is_fetched_evenly_from_both_sides(pipeline: Pipeline) -> None:
    lanes = [Lane(number) for number in range(pipeline.topics.partitions)]
    for lane in lanes:
        await pipeline.write(history(f"acc-{lane}", [1] * TRANSFERS), lane)
    consumer = LaneConsumer(pipeline.settings(batch_records=BATCH))
    await consumer.start()
    await wait_until(lambda: consumer.assigned() == lanes)
    for lane in lanes:
        consumer.seek(lane_from_start(pipeline, lane))
    fetched = {lane: [0, 0] for lane in lanes}
    ahead = 0
    while sum(map(sum, fetched.values())) < len(lanes) * (2 * TRANSFERS + 1):
        for lane, sides in (await consumer.fetch(lanes)).items():
            fetched[lane] = [count + len(side) for count, side in zip(fetched[lane], sides, strict=True)]
            ahead = max(ahead, abs(fetched[lane][0] - fetched[lane][1]))
    await consumer.stop()
    assert ahead <= BATCH
