"""What counts as standing still, second by second. The broker is a fake: it knows where partitions end."""

import asyncio
from collections.abc import Callable, Collection, Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from livebalance.runtime.kafka.stall_detector import Ends, PartitionProgress, StallDetector, StalledError

ONE, TWO = TopicPartition("transfers", 0), TopicPartition("transfers", 1)


class Loop:
    """As it is until told otherwise: it turns, is answered every second, and has taken all there is."""

    def __init__(self) -> None:
        self.now = 0
        self.turning = self.fetching = self.kafka = self.ready = True
        self.turns, self.answered, self.end, self.taken = 0, 0, 10, 10

    def second(self) -> int:
        self.now += 1
        self.turns += self.turning
        self.answered += self.fetching
        return self.now

    def places(self) -> Mapping[TopicPartition, PartitionProgress]:
        both = {ONE: PartitionProgress(self.answered, self.taken), TWO: PartitionProgress(self.now, 5)}
        return both if self.ready else {}

    async def ends(self, of: Collection[TopicPartition]) -> Ends:
        if not self.kafka:
            raise KafkaConnectionError
        return {at: self.end if at == ONE else 5 for at in of}


async def watched(loop: Loop, progress: StallDetector, seconds: int) -> str | None:
    """What a probe is told after so many seconds."""
    for _ in range(seconds):
        await progress.look(loop.second())
    return progress.stalled


def stops_fetching(loop: Loop) -> None:
    loop.fetching, loop.end = False, 11


def hangs(loop: Loop) -> None:
    loop.turning, loop.end = False, 11


STOPS = pytest.mark.parametrize("stops", [stops_fetching, hangs])


@STOPS
async def test_who_stands_still_while_more_arrives_is_told_of_and_then_ends(
    stops: Callable[[Loop], None],
) -> None:
    loop = Loop()
    progress = StallDetector(loop, 0)
    assert await watched(loop, progress, 20) is None
    stops(loop)
    assert await watched(loop, progress, 60) is None
    assert "although there is more" in str(progress.suspicion)
    assert "although there is more" in str(await watched(loop, progress, 15))
    with pytest.raises(StalledError):
        await watched(loop, progress, 40)


@STOPS
async def test_a_broker_that_is_away_is_no_standstill(stops: Callable[[Loop], None]) -> None:
    loop = Loop()
    progress = StallDetector(loop, 0)
    stops(loop)
    loop.kafka = False
    assert await watched(loop, progress, 600) is None
    assert progress.suspicion == "kafka does not answer"
    loop.kafka = True  # it answers before the consumer has noticed
    assert await watched(loop, progress, 50) is None


@STOPS
async def test_nothing_to_do_is_no_standstill(stops: Callable[[Loop], None]) -> None:
    loop = Loop()
    progress = StallDetector(loop, 0)
    stops(loop)
    loop.end = loop.taken
    assert await watched(loop, progress, 600) is None
    assert progress.suspicion is None


async def test_turns_that_end_badly_are_turns() -> None:
    """So it is while Postgres is away: nothing is owned for long."""
    loop = Loop()
    progress = StallDetector(loop, 0)
    loop.fetching, loop.end = False, 11
    for _ in range(40):
        loop.ready = False
        assert await watched(loop, progress, 5) is None
        loop.ready = True
        assert await watched(loop, progress, 15) is None


async def test_to_prepare_may_take_as_long_as_it_needs() -> None:
    loop = Loop()
    progress = StallDetector(loop, 0)
    loop.ready = loop.turning = False
    loop.end = 1_000_000
    assert await watched(loop, progress, 600) is None
    assert progress.suspicion is None


@STOPS
async def test_a_process_that_was_paused_has_not_waited(stops: Callable[[Loop], None]) -> None:
    loop = Loop()
    progress = StallDetector(loop, 0)
    stops(loop)
    await watched(loop, progress, 20)
    loop.now += 3600
    assert await watched(loop, progress, 1) is None


@STOPS
async def test_who_goes_on_is_well_again(stops: Callable[[Loop], None]) -> None:
    loop = Loop()
    progress = StallDetector(loop, 0)
    stops(loop)
    assert await watched(loop, progress, 75)
    loop.turning = loop.fetching = True
    assert await watched(loop, progress, 1) is None
    assert progress.suspicion is None


async def test_it_ends_the_block_that_it_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop()
    progress = StallDetector(loop, 0)

    async def look(now: float) -> None:
        raise StalledError("nothing done")

    monkeypatch.setattr(progress, "look", look)
    with pytest.raises(StalledError):
        async with asyncio.timeout(10), progress.watched():
            await asyncio.Event().wait()


async def test_who_is_cancelled_is_not_stalled() -> None:
    progress = StallDetector(Loop(), 0)

    async def run() -> None:
        async with progress.watched():
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
