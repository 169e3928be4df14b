import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.client.throttle import Throttle
from livebalance.gateway.limits.rate import RateLimiter


def test_half_of_the_limit_of_three_seconds_may_be_sent_at_once_and_then_half_of_the_limit() -> None:
    throttle = Throttle()
    for _ in range(15):
        assert throttle.ready_at <= 100.0 + 1e-9
        throttle.sent(1, 100.0)
    assert throttle.ready_at == pytest.approx(100.2)
    throttle.sent(2, 100.2)
    assert throttle.ready_at == pytest.approx(100.6)
    assert throttle.ready_at <= 200.0


def test_limit_of_a_gateway_counts_also_soon_after_the_clock_began() -> None:
    throttle = Throttle(2.0)
    for _ in range(3):
        assert throttle.ready_at <= 0.1 + 1e-9
        throttle.sent(1, 0.1)
    assert throttle.ready_at == pytest.approx(1.1)


@given(
    limit=st.floats(1.0, 100.0),
    waits=st.lists(st.floats(0.0, 2.0), max_size=50),
    counts=st.lists(st.integers(1, 2), min_size=50, max_size=50),
)
def test_a_gateway_with_the_limit_takes_each_message(
    limit: float, waits: list[float], counts: list[int]
) -> None:
    throttle, gateway, now = Throttle(limit), RateLimiter(limit, 3 * limit), 50.0
    for wait, count in zip(waits, counts, strict=False):
        now = max(now + wait, throttle.ready_at)
        throttle.sent(count, now)
        assert gateway.try_acquire(now, count) == 0
