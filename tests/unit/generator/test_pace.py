import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.generator.pace import UNLIMITED, Pace


@pytest.mark.parametrize("rate", [0.5, 5, 200, 1000])
def test_pace_over_time_keeps_its_rate(rate: float) -> None:
    pace, now, total = Pace(rate, 100.0), 100.0, 0
    while now < 120.0:
        total += pace.consume(now, 1000)
        now += max(pace.seconds_until_due(now), 0.013)
    assert total == pytest.approx(20 * rate, abs=rate * 0.013 + 2)


@given(st.floats(0.1, 10_000), st.lists(st.floats(0, 0.9), min_size=1, max_size=50))
def test_pace_at_any_time_gives_no_more_than_its_rate(rate: float, steps: list[float]) -> None:
    pace, now, total = Pace(rate, 0.0), 0.0, 0
    for step in steps:
        now += step
        total += pace.consume(now, 10**6)
        assert total <= now * rate + 1.001


def test_pace_after_an_outage_drops_the_backlog() -> None:
    pace = Pace(10, 0.0)
    assert pace.consume(0.0, 1000) == 1
    assert pace.consume(60.0, 5) == 5
    rest = sum(pace.consume(60.0 + step / 100, 5) for step in range(1, 21))
    assert 10 <= rest <= 13  # the backlog of one second, and these 0.2 s


def test_transfers_due_within_10_ms_are_due_together() -> None:
    pace = Pace(1000, 0.0)
    assert pace.consume(0.0, 99) == 1
    assert pace.consume(0.005, 99) == 0
    assert pace.seconds_until_due(0.005) == pytest.approx(0.005)
    assert pace.consume(0.01, 99) == 10


def test_pace_before_the_next_transfer_gives_none() -> None:
    pace = Pace(2, 0.0)
    assert (pace.consume(0.0, 9), pace.seconds_until_due(0.0)) == (1, 0.5)
    assert pace.consume(0.4, 9) == 0
    assert pace.seconds_until_due(0.4) == pytest.approx(0.1)
    assert pace.consume(0.5, 9) == 1


def test_unlimited_pace_gives_as_many_as_asked() -> None:
    pace = Pace(UNLIMITED, 0.0)
    assert (pace.consume(0.0, 77), pace.seconds_until_due(0.0)) == (77, 0.0)
