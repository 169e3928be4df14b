"""The lag of a consumer. The consumer is a fake with the answers of its broker."""

from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition
from prometheus_client import Gauge

from livebalance.runtime.kafka import lag as module
from livebalance.runtime.kafka.lag import Lag, lag_gauges
from livebalance.wire.timestamp import Millis

PARTITION, OTHER = TopicPartition("transfers", 0), TopicPartition("transfers", 1)
GAUGES = lag_gauges("nobody")


@dataclass
class Consumer:
    """A consumer at offset `next_offset`. The last answer, at `answered` ms, contained `stable` and `end`."""

    next_offset: int = 0
    stable: int | None = None
    end: int | None = None
    answered: int | None = None
    assigned: set[TopicPartition] = field(default_factory=lambda: {PARTITION})

    async def position(self, partition: TopicPartition) -> int:
        return self.next_offset

    def last_stable_offset(self, partition: TopicPartition) -> int | None:
        assert partition in self.assigned
        return self.stable

    def highwater(self, partition: TopicPartition) -> int | None:
        assert partition in self.assigned
        return self.end

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        return self.answered

    def assignment(self) -> set[TopicPartition]:
        return self.assigned


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in ms, as the only item, so that a test can change it."""
    clock = [100_000]
    monkeypatch.setattr(module, "_now", lambda: Millis(clock[0]))
    return clock


@pytest.fixture
def consumer(now: list[int]) -> Consumer:
    return Consumer()


@pytest.fixture
def lag(consumer: Consumer) -> Lag:
    lag = Lag(consumer, GAUGES)
    lag.track([PARTITION])
    return lag


def measure(lag: Lag) -> tuple[int, float]:
    return lag.records(PARTITION), lag.seconds(PARTITION)


async def test_lag_before_the_first_measurement_is_zero(lag: Lag, consumer: Consumer) -> None:
    consumer.stable = 50
    assert measure(lag) == (0, 0.0)
    assert (lag.records(OTHER), lag.seconds(OTHER)) == (0, 0.0)


async def test_lag_with_only_transaction_markers_left_is_zero(lag: Lag, consumer: Consumer) -> None:
    """The last record has offset 7. Offsets 8 and 9 are markers, which the consumer has passed."""
    consumer.next_offset, consumer.stable, consumer.answered = 10, 10, 99_000
    await lag.advance(PARTITION, 8, Millis(98_000))
    assert measure(lag) == (0, 0.0)


async def test_processed_record_that_is_read_again_is_no_lag(lag: Lag, consumer: Consumer) -> None:
    consumer.next_offset, consumer.stable, consumer.answered = 7, 8, 99_000
    await lag.advance(PARTITION, 8, None)
    assert measure(lag) == (0, 0.0)


async def test_lag_seconds_run_from_the_last_time_that_is_complete(
    lag: Lag, consumer: Consumer, now: list[int]
) -> None:
    consumer.next_offset, consumer.stable, consumer.answered = 10, 10, 99_000
    await lag.advance(PARTITION, 10, Millis(1_000))  # the topic was idle for long
    consumer.stable, now[0] = 15, 101_000
    assert measure(lag) == (5, 2.0)
    now[0] = 130_000  # no progress
    assert measure(lag) == (5, 31.0)
    consumer.next_offset, consumer.answered = 12, 129_000
    await lag.advance(PARTITION, 12, Millis(100_500))  # a part of the new records
    assert measure(lag) == (3, 29.5)
    consumer.next_offset = 15
    await lag.advance(PARTITION, 15, Millis(101_000))
    assert measure(lag) == (0, 0.0)


async def test_lag_seconds_of_a_backlog_run_from_the_last_processed_record(
    lag: Lag, consumer: Consumer
) -> None:
    consumer.next_offset, consumer.stable, consumer.answered = 10, 1000, 99_000
    await lag.advance(PARTITION, 10, Millis(40_000))
    assert measure(lag) == (990, 60.0)


async def test_record_with_a_future_timestamp_does_not_hide_the_lag(lag: Lag, consumer: Consumer) -> None:
    consumer.next_offset, consumer.stable, consumer.answered = 10, 11, 99_000
    await lag.advance(PARTITION, 10, Millis(999_000))
    assert measure(lag) == (1, 1.0)


async def test_lag_seconds_before_the_first_record_run_from_the_start_of_tracking(
    lag: Lag, consumer: Consumer, now: list[int]
) -> None:
    lag.halt(PARTITION, 4, 9)
    now[0] = 103_000
    assert measure(lag) == (5, 3.0)


async def test_new_assignment_keeps_the_lag_of_tracked_partitions_only(lag: Lag, consumer: Consumer) -> None:
    consumer.next_offset, consumer.stable, consumer.answered = 10, 12, 99_000
    await lag.advance(PARTITION, 10, Millis(98_000))
    assert measure(lag) == (2, 2.0)
    consumer.assigned, consumer.stable = set(), None  # during a rebalance
    assert measure(lag) == (2, 2.0)
    lag.track([PARTITION, OTHER])
    assert measure(lag) == (2, 2.0)
    lag.track([OTHER])
    await lag.advance(PARTITION, 10, None)
    assert measure(lag) == (0, 0.0)


def answer(consumer: Consumer, now: int, stable: int, end: int) -> None:
    consumer.answered, consumer.stable, consumer.end = now, stable, end


async def test_open_transaction_is_timed_until_it_ends(lag: Lag, consumer: Consumer) -> None:
    assert lag.open_transaction_seconds(PARTITION) == 0  # no answer yet
    for answered, stable, end, seconds in [
        (1_000, 5, 5, 0.0),  # an idle topic
        (61_000, 5, 6, 0.0),  # a transaction has begun at an unknown time
        (63_000, 5, 7, 2.0),
        (91_000, 5, 9, 30.0),
        (93_000, 7, 9, 0.0),  # the next transaction is open
        (94_000, 7, 9, 1.0),
        (95_000, 10, 10, 0.0),
    ]:
        answer(consumer, answered, stable, end)
        assert lag.open_transaction_seconds(PARTITION) == seconds
    assert lag.open_transaction_seconds(OTHER) == 0


async def test_open_transaction_while_the_broker_is_unavailable_is_not_timed(
    lag: Lag, consumer: Consumer, now: list[int]
) -> None:
    """A transaction was open at the broker's last answer."""
    answer(consumer, 1_000, 5, 6)
    assert lag.open_transaction_seconds(PARTITION) == 0
    now[0] += 600_000
    assert lag.open_transaction_seconds(PARTITION) == 0


async def test_new_assignment_keeps_the_time_of_an_open_transaction(lag: Lag, consumer: Consumer) -> None:
    answer(consumer, 1_000, 5, 6)
    assert lag.open_transaction_seconds(PARTITION) == 0
    answer(consumer, 41_000, 5, 6)
    assert lag.open_transaction_seconds(PARTITION) == 40
    consumer.assigned = set()
    assert lag.open_transaction_seconds(PARTITION) == 40
    consumer.assigned, consumer.answered = {PARTITION}, None
    lag.track([PARTITION])
    assert lag.open_transaction_seconds(PARTITION) == 40
    consumer.answered = 45_000
    assert lag.open_transaction_seconds(PARTITION) == 44


async def test_gauges_show_the_tracked_partitions_only(lag: Lag, consumer: Consumer) -> None:
    answer(consumer, 1_000, 5, 6)
    lag.halt(PARTITION, 2, 0)
    lag.track([PARTITION])
    assert [values(gauge) for gauge in GAUGES] == [{"0": 3.0}, {"0": 0.0}, {"0": 0.0}]
    answer(consumer, 4_000, 5, 6)
    assert values(GAUGES.open_transaction_seconds) == {"0": 3.0}
    lag.track([OTHER])
    assert [values(gauge).keys() for gauge in GAUGES] == [{"1"}] * 3


def values(gauge: Gauge) -> dict[str, float]:
    """Returns the values of a gauge by lane."""
    [family] = gauge.collect()
    return {sample.labels["lane"]: sample.value for sample in family.samples}
