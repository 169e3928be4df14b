"""How far behind a consumer is, with its broker's answers as they come."""

from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition

from livebalance.runtime import lag as module
from livebalance.runtime.lag import Lag
from livebalance.wire.instant import Millis

AT, OTHER = TopicPartition("transfers", 0), TopicPartition("transfers", 1)


@dataclass
class Consumer:
    """Stands at `stands`; the last answer, at `answered` ms, told of `stable`."""

    stands: int = 0
    stable: int | None = None
    answered: int | None = None
    assigned: set[TopicPartition] = field(default_factory=lambda: {AT})

    async def position(self, at: TopicPartition) -> int:
        return self.stands

    def last_stable_offset(self, at: TopicPartition) -> int | None:
        assert at in self.assigned
        return self.stable

    def last_poll_timestamp(self, at: TopicPartition) -> int | None:
        return self.answered

    def assignment(self) -> set[TopicPartition]:
        return self.assigned


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """ms; to be changed."""
    at = [100_000]
    monkeypatch.setattr(module, "_now", lambda: Millis(at[0]))
    return at


@pytest.fixture
def consumer(now: list[int]) -> Consumer:
    return Consumer()


@pytest.fixture
def lag(consumer: Consumer) -> Lag:
    found = Lag(consumer)
    found.follow([AT])
    return found


def shown(lag: Lag) -> tuple[int, float]:
    return lag.records(AT), lag.seconds(AT)


async def test_what_is_not_known_yet_is_not_told(lag: Lag, consumer: Consumer) -> None:
    consumer.stable = 50
    assert shown(lag) == (0, 0.0)
    assert (lag.records(OTHER), lag.seconds(OTHER)) == (0, 0.0)


async def test_behind_markers_nothing_waits(lag: Lag, consumer: Consumer) -> None:
    """The last record is at 7, markers of transactions at 8 and 9: the consumer has passed them."""
    consumer.stands, consumer.stable, consumer.answered = 10, 10, 99_000
    await lag.done(AT, 8, Millis(98_000))
    assert shown(lag) == (0, 0.0)


async def test_the_last_record_that_is_read_again_does_not_wait(lag: Lag, consumer: Consumer) -> None:
    consumer.stands, consumer.stable, consumer.answered = 7, 8, 99_000
    await lag.done(AT, 8, None)
    assert shown(lag) == (0, 0.0)


async def test_what_waits_is_as_old_as_the_last_moment_that_was_whole(
    lag: Lag, consumer: Consumer, now: list[int]
) -> None:
    consumer.stands, consumer.stable, consumer.answered = 10, 10, 99_000
    await lag.done(AT, 10, Millis(1_000))  # the topic was quiet for long
    consumer.stable, now[0] = 15, 101_000
    assert shown(lag) == (5, 2.0)
    now[0] = 130_000  # nothing moves
    assert shown(lag) == (5, 31.0)
    consumer.stands, consumer.answered = 12, 129_000
    await lag.done(AT, 12, Millis(100_500))  # some of what came
    assert shown(lag) == (3, 29.5)
    consumer.stands = 15
    await lag.done(AT, 15, Millis(101_000))
    assert shown(lag) == (0, 0.0)


async def test_a_long_backlog_is_as_old_as_what_was_done_last(lag: Lag, consumer: Consumer) -> None:
    consumer.stands, consumer.stable, consumer.answered = 10, 1000, 99_000
    await lag.done(AT, 10, Millis(40_000))
    assert shown(lag) == (990, 60.0)


async def test_a_record_of_the_future_is_not_ahead(lag: Lag, consumer: Consumer) -> None:
    consumer.stands, consumer.stable, consumer.answered = 10, 11, 99_000
    await lag.done(AT, 10, Millis(999_000))
    assert shown(lag) == (1, 1.0)


async def test_before_anything_was_done_it_counts_from_when_it_was_followed(
    lag: Lag, consumer: Consumer, now: list[int]
) -> None:
    lag.stopped(AT, 4, 9)
    now[0] = 103_000
    assert shown(lag) == (5, 3.0)


async def test_another_assignment_forgets_others_and_no_more(lag: Lag, consumer: Consumer) -> None:
    consumer.stands, consumer.stable, consumer.answered = 10, 12, 99_000
    await lag.done(AT, 10, Millis(98_000))
    assert shown(lag) == (2, 2.0)
    consumer.assigned, consumer.stable = set(), None  # about to be assigned anew
    assert shown(lag) == (2, 2.0)
    lag.follow([AT, OTHER])
    assert shown(lag) == (2, 2.0)
    lag.follow([OTHER])
    await lag.done(AT, 10, None)
    assert shown(lag) == (0, 0.0)
