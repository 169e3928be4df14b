"""What waits in both topics is taken evenly: a transfer and its balance come at about the same time."""

from livebalance.projector.fold.lane import LaneSide, OwnedLane
from livebalance.projector.kafka.consumer import LaneConsumer
from livebalance.wire.identity import Epoch, Lane, Offset
from tests.integration.projector.world import World, history, reached

EACH, MOST = 400, 60
EPOCH = Epoch("00000000000000a1")


def beginning(world: World, lane: Lane) -> OwnedLane:
    transfers, balances = (
        LaneSide(topic, Offset(0), None, None) for topic in (world.topics.transfers, world.topics.balances)
    )
    return OwnedLane(lane, 1, EPOCH, transfers, balances, None)


async def test_no_side_of_a_lane_is_emptied_before_the_other(world: World) -> None:
    lanes = [Lane(number) for number in range(world.topics.partitions)]
    for lane in lanes:
        await world.write(history(f"acc-{lane}", [1] * EACH), lane)
    intake = LaneConsumer(world.settings(batch_records=MOST))
    await intake.start()
    await reached(lambda: intake.assigned() == lanes)
    for lane in lanes:
        intake.seek(beginning(world, lane))
    taken = {lane: [0, 0] for lane in lanes}
    ahead = 0
    while sum(map(sum, taken.values())) < len(lanes) * (2 * EACH + 1):
        for lane, sides in (await intake.fetch(lanes)).items():
            taken[lane] = [before + len(more) for before, more in zip(taken[lane], sides, strict=True)]
            ahead = max(ahead, abs(taken[lane][0] - taken[lane][1]))
    await intake.stop()
    assert ahead <= MOST
