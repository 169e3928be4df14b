import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.generator.pace import UNLIMITED, Pace


@pytest.mark.parametrize("rate", [0.5, 5, 200, 1000])
def test_over_time_the_rate_is_kept(rate: float) -> None:
    pace, now, taken = Pace(rate, 100.0), 100.0, 0
    while now < 120.0:
        taken += pace.take(now, 1000)
        now += max(pace.wait(now), 0.013)
    assert taken == pytest.approx(20 * rate, abs=rate * 0.013 + 2)


@given(st.floats(0.1, 10_000), st.lists(st.floats(0, 0.9), min_size=1, max_size=50))
def test_never_more_than_is_due(rate: float, steps: list[float]) -> None:
    pace, now, taken = Pace(rate, 0.0), 0.0, 0
    for step in steps:
        now += step
        taken += pace.take(now, 10**6)
        assert taken <= now * rate + 1.001


def test_what_is_lost_in_an_outage_is_not_made_up_for() -> None:
    pace = Pace(10, 0.0)
    assert pace.take(0.0, 1000) == 1
    assert pace.take(60.0, 5) == 5
    rest = sum(pace.take(60.0 + step / 100, 5) for step in range(1, 21))
    assert 10 <= rest <= 13  # of the second that is forgiven, and of these 0.2 s


def test_what_is_due_within_10_ms_goes_together() -> None:
    pace = Pace(1000, 0.0)
    assert pace.take(0.0, 99) == 1
    assert pace.take(0.005, 99) == 0
    assert pace.wait(0.005) == pytest.approx(0.005)
    assert pace.take(0.01, 99) == 10


def test_before_its_time_nothing_is_due() -> None:
    pace = Pace(2, 0.0)
    assert (pace.take(0.0, 9), pace.wait(0.0)) == (1, 0.5)
    assert pace.take(0.4, 9) == 0
    assert pace.wait(0.4) == pytest.approx(0.1)
    assert pace.take(0.5, 9) == 1


def test_without_a_limit_everything_is_due() -> None:
    pace = Pace(UNLIMITED, 0.0)
    assert (pace.take(0.0, 77), pace.wait(0.0)) == (77, 0.0)
