from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.limits.rate import RateLimiter


@given(
    st.floats(0.01, 1000),
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 5)), max_size=60),
)
def test_in_any_stretch_of_time_no_more_than_the_burst_and_the_rate(
    per_second: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    bucket, now, taken = RateLimiter(per_second, burst), 0.0, []
    for step, count in asked:
        now += step
        if bucket.take(now, count) == 0:
            taken.append((now, count))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            stretch = taken[last][0] - taken[first][0]
            assert sum(count for _, count in taken[first : last + 1]) <= burst + per_second * stretch + 1e-3


@given(st.floats(0.01, 1000), st.integers(1, 100), st.integers(1, 200))
def test_after_the_wait_it_says_there_is_enough(per_second: float, burst: int, times: int) -> None:
    bucket = RateLimiter(per_second, burst)
    waits = [bucket.take(5.0) for _ in range(times)]
    assert waits.count(0.0) == min(times, burst)
    if waits[-1]:
        assert bucket.take(5.0 + waits[-1] * 0.99) > 0
        assert bucket.take(5.0 + waits[-1] + 1e-6) == 0


def test_it_is_full_again() -> None:
    bucket = RateLimiter(2, 10)
    assert bucket.is_full(0.0)
    assert bucket.take(0.0, 10) == 0
    assert not bucket.is_full(4.9)
    assert bucket.is_full(5.0)
