"""How far behind a consumer is, with its broker's answers as they come."""

from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition
from prometheus_client import Gauge

from livebalance.runtime.kafka import lag as module
from livebalance.runtime.kafka.lag import Lag, gauges
from livebalance.wire.timestamp import Millis

AT, OTHER = TopicPartition("transfers", 0), TopicPartition("transfers", 1)
GAUGES = gauges("nobody")


@dataclass
class Consumer:
    """Stands at `stands`; the last answer, at `answered` ms, told of `stable` and `end`."""

    stands: int = 0
    stable: int | None = None
    end: int | None = None
    answered: int | None = None
    assigned: set[TopicPartition] = field(default_factory=lambda: {AT})

    async def position(self, at: TopicPartition) -> int:
        return self.stands

    def last_stable_offset(self, at: TopicPartition) -> int | None:
        assert at in self.assigned
        return self.stable

    def highwater(self, at: TopicPartition) -> int | None:
        assert at in self.assigned
        return self.end

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
    found = Lag(consumer, GAUGES)
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


def answers(consumer: Consumer, at: int, stable: int, end: int) -> None:
    consumer.answered, consumer.stable, consumer.end = at, stable, end


async def test_what_is_behind_an_open_transaction_is_held_back_until_it_ends(
    lag: Lag, consumer: Consumer
) -> None:
    assert lag.held_back(AT) == 0  # nothing is known
    for at, stable, end, seconds in [
        (1_000, 5, 5, 0.0),  # a quiet topic
        (61_000, 5, 6, 0.0),  # a transaction has begun, nobody knows when
        (63_000, 5, 7, 2.0),
        (91_000, 5, 9, 30.0),
        (93_000, 7, 9, 0.0),  # another one follows it
        (94_000, 7, 9, 1.0),
        (95_000, 10, 10, 0.0),
    ]:
        answers(consumer, at, stable, end)
        assert lag.held_back(AT) == seconds
    assert lag.held_back(OTHER) == 0


async def test_a_broker_that_is_away_holds_nothing_back(lag: Lag, consumer: Consumer, now: list[int]) -> None:
    """A transaction was open when it was heard last."""
    answers(consumer, 1_000, 5, 6)
    assert lag.held_back(AT) == 0
    now[0] += 600_000
    assert lag.held_back(AT) == 0


async def test_another_assignment_does_not_end_a_transaction(lag: Lag, consumer: Consumer) -> None:
    answers(consumer, 1_000, 5, 6)
    assert lag.held_back(AT) == 0
    answers(consumer, 41_000, 5, 6)
    assert lag.held_back(AT) == 40
    consumer.assigned = set()
    assert lag.held_back(AT) == 40
    consumer.assigned, consumer.answered = {AT}, None
    lag.follow([AT])
    assert lag.held_back(AT) == 40
    consumer.answered = 45_000
    assert lag.held_back(AT) == 44


async def test_all_of_it_is_shown_of_what_is_followed(lag: Lag, consumer: Consumer) -> None:
    answers(consumer, 1_000, 5, 6)
    lag.stopped(AT, 2, 0)
    lag.follow([AT])
    assert [shown_by(gauge) for gauge in GAUGES] == [{"0": 3.0}, {"0": 0.0}, {"0": 0.0}]
    answers(consumer, 4_000, 5, 6)
    assert shown_by(GAUGES.held_back) == {"0": 3.0}
    lag.follow([OTHER])
    assert [shown_by(gauge).keys() for gauge in GAUGES] == [{"1"}] * 3


def shown_by(gauge: Gauge) -> dict[str, float]:
    """By lane."""
    [family] = gauge.collect()
    return {one.labels["lane"]: one.value for one in family.samples}
