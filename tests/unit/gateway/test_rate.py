from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.limits.rate import RateLimiter


@given(
    st.floats(0.01, 1000),
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 5)), max_size=60),
)
def test_rate_limiter_in_any_period_grants_at_most_the_burst_and_the_rate(
    per_second: float, burst: int, requests: list[tuple[float, int]]
) -> None:
    limiter, now, granted = RateLimiter(per_second, burst), 0.0, []
    for pause, count in requests:
        now += pause
        if limiter.try_acquire(now, count) == 0:
            granted.append((now, count))
    for first in range(len(granted)):
        total = 0
        for time, count in granted[first:]:
            total += count
            assert total <= burst + per_second * (time - granted[first][0]) + 1e-3


@given(st.floats(0.01, 1000), st.integers(1, 100), st.integers(1, 200))
def test_rate_limiter_after_the_wait_it_returned_grants(per_second: float, burst: int, times: int) -> None:
    limiter = RateLimiter(per_second, burst)
    waits = [limiter.try_acquire(5.0) for _ in range(times)]
    assert waits.count(0.0) == min(times, burst)
    if waits[-1]:
        assert limiter.try_acquire(5.0 + waits[-1] * 0.99) > 0
        assert limiter.try_acquire(5.0 + waits[-1] + 1e-6) == 0


def test_rate_limiter_after_enough_time_is_full_again() -> None:
    limiter = RateLimiter(2, 10)
    assert limiter.is_full(0.0)
    assert limiter.try_acquire(0.0, 10) == 0
    assert not limiter.is_full(4.9)
    assert limiter.is_full(5.0)


def test_wait_is_for_one_unless_a_count_is_given() -> None:
    limiter = RateLimiter(2, 1)
    assert limiter.wait(0.0) == 0.0
    assert limiter.try_acquire(0.0) == 0.0
    assert (limiter.wait(0.0), limiter.wait(0.0, 2)) == (0.5, 1.0)
