"""Stall detection, second by second. The broker is a fake that knows where partitions end."""

import asyncio
from collections.abc import Callable, Collection, Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from livebalance.runtime.kafka.stall_detector import (
    EndOffsets,
    PartitionProgress,
    SilenceTimer,
    StallDetector,
    StalledError,
)

FIRST, SECOND = TopicPartition("transfers", 0), TopicPartition("transfers", 1)


class Loop:
    """A loop that ends an iteration and fetches every second, and has processed everything."""

    def __init__(self) -> None:
        self.now = 0
        self.iterating = self.fetching = self.kafka = self.ready = True
        self.iterations, self.last_answer, self.end, self.next_offset = 0, 0, 10, 10

    def second(self) -> int:
        self.now += 1
        self.iterations += self.iterating
        self.last_answer += self.fetching
        return self.now

    def partition_progress(self) -> Mapping[TopicPartition, PartitionProgress]:
        progress = {
            FIRST: PartitionProgress(self.last_answer, self.next_offset),
            SECOND: PartitionProgress(self.now, 5),
        }
        return progress if self.ready else {}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> EndOffsets:
        if not self.kafka:
            raise KafkaConnectionError
        return {partition: self.end if partition == FIRST else 5 for partition in partitions}


async def check_for(loop: Loop, detector: StallDetector, seconds: int) -> str | None:
    """Checks once a second, and returns the answer of the liveness probe after that."""
    for _ in range(seconds):
        await detector.check(loop.second())
    return detector.stalled_reason


def stop_fetching(loop: Loop) -> None:
    loop.fetching, loop.end = False, 11


def hang(loop: Loop) -> None:
    loop.iterating, loop.end = False, 11


STALLS = pytest.mark.parametrize("stall", [stop_fetching, hang])


@STALLS
async def test_loop_that_stalls_while_records_wait_fails_its_probe_and_then_ends(
    stall: Callable[[Loop], None],
) -> None:
    loop = Loop()
    detector = StallDetector(loop, 0)
    assert await check_for(loop, detector, 20) is None
    stall(loop)
    assert await check_for(loop, detector, 60) is None
    assert "although records wait" in str(detector.unready_reason)
    assert "although records wait" in str(await check_for(loop, detector, 15))
    with pytest.raises(StalledError):
        await check_for(loop, detector, 40)


@STALLS
async def test_loop_while_kafka_is_unavailable_is_not_stalled(stall: Callable[[Loop], None]) -> None:
    loop = Loop()
    detector = StallDetector(loop, 0)
    stall(loop)
    loop.kafka = False
    assert await check_for(loop, detector, 600) is None
    assert detector.unready_reason == "kafka does not answer"
    loop.kafka = True  # the broker answers before the consumer has reconnected
    assert await check_for(loop, detector, 50) is None


@STALLS
async def test_loop_without_waiting_records_is_not_stalled(stall: Callable[[Loop], None]) -> None:
    loop = Loop()
    detector = StallDetector(loop, 0)
    stall(loop)
    loop.end = loop.next_offset
    assert await check_for(loop, detector, 600) is None
    assert detector.unready_reason is None


async def test_loop_whose_iterations_fail_is_not_stalled() -> None:
    """While Postgres is unavailable, partitions are claimed only for seconds."""
    loop = Loop()
    detector = StallDetector(loop, 0)
    loop.fetching, loop.end = False, 11
    for _ in range(40):
        loop.ready = False
        assert await check_for(loop, detector, 5) is None
        loop.ready = True
        assert await check_for(loop, detector, 15) is None


async def test_loop_that_prepares_for_minutes_is_not_stalled() -> None:
    loop = Loop()
    detector = StallDetector(loop, 0)
    loop.ready = loop.iterating = False
    loop.end = 1_000_000
    assert await check_for(loop, detector, 600) is None
    assert detector.unready_reason is None


@STALLS
async def test_process_that_was_paused_is_not_stalled(stall: Callable[[Loop], None]) -> None:
    loop = Loop()
    detector = StallDetector(loop, 0)
    stall(loop)
    await check_for(loop, detector, 20)
    loop.now += 3600
    assert await check_for(loop, detector, 1) is None


@STALLS
async def test_loop_that_continues_passes_its_probes_again(stall: Callable[[Loop], None]) -> None:
    loop = Loop()
    detector = StallDetector(loop, 0)
    stall(loop)
    assert await check_for(loop, detector, 75)
    loop.iterating = loop.fetching = True
    assert await check_for(loop, detector, 1) is None
    assert detector.unready_reason is None


async def test_stalled_error_ends_the_watched_block(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop()
    detector = StallDetector(loop, 0)

    async def check(now: float) -> None:
        raise StalledError("nothing processed")

    monkeypatch.setattr(detector, "check", check)
    with pytest.raises(StalledError):
        async with asyncio.timeout(60), detector.watch():
            await asyncio.Event().wait()


async def test_cancelled_block_raises_cancelled_error() -> None:
    detector = StallDetector(Loop(), 0)

    async def run() -> None:
        async with detector.watch():
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


A, B = "a", "b"


def silences(timer: SilenceTimer[str], *updates: tuple[float, Mapping[str, int | None]]) -> list[set[str]]:
    return [timer.update(answers, now) for now, answers in updates]


def test_key_with_new_answers_is_not_silent() -> None:
    timer = SilenceTimer[str](3, 0)
    assert silences(timer, *((n, {A: n}) for n in range(20))) == [set()] * 20


def test_key_without_a_new_answer_is_silent_after_the_limit() -> None:
    timer = SilenceTimer[str](3, 0)
    silent = silences(timer, *((n, {A: 7, B: n}) for n in range(6)))
    assert silent == [set(), set(), set(), {A}, {A}, {A}]


def test_key_without_any_answer_is_silent_after_the_limit() -> None:
    timer = SilenceTimer[str](3, 0)
    assert silences(timer, *((n, {A: None}) for n in range(4)))[-1] == {A}


def test_key_in_a_process_that_was_paused_is_not_silent() -> None:
    timer = SilenceTimer[str](3, 0)
    assert silences(timer, (0, {A: 7}), (600, {A: 7})) == [set(), set()]


def test_key_that_was_removed_starts_again() -> None:
    timer = SilenceTimer[str](2, 0)
    updates = [(0, {A: 7}), (1, {A: 7}), (2, {}), (3, {A: 7}), (4, {A: 7}), (5, {A: 7})]
    assert silences(timer, *updates) == [set(), set(), set(), set(), set(), {A}]
