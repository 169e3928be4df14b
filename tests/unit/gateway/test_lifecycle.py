from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.lifecycle import GOAWAY_GRACE, MAX_AUDIT_AGE, Readiness, drain_schedule


def test_readiness_names_what_is_missing() -> None:
    readiness = Readiness()
    assert readiness.not_ready(has_keys=False, now=0.0) == "Redis is unavailable"
    readiness.redis_connected = True
    assert readiness.not_ready(has_keys=False, now=0.0) == "no keys, or no recent revocations"
    assert readiness.not_ready(has_keys=True, now=0.0) == "no recent audit"
    readiness.audited_at = 0.0
    assert readiness.not_ready(has_keys=True, now=MAX_AUDIT_AGE) is None
    assert readiness.not_ready(has_keys=True, now=MAX_AUDIT_AGE + 0.1) == "no recent audit"


def test_stopping_gateway_is_not_ready_but_admits_until_it_drains() -> None:
    readiness = Readiness()
    readiness.redis_connected, readiness.audited_at = True, 100.0
    readiness.is_stopping = True
    assert readiness.not_ready(has_keys=True, now=100.0) == "draining"
    assert readiness.not_admitting(has_keys=True, now=100.0) is None
    readiness.is_draining = True
    assert readiness.not_admitting(has_keys=True, now=100.0) == "draining"


@given(st.floats(0, 100), st.floats(0, 100), st.lists(st.floats(0, 1, exclude_max=True), min_size=1))
def test_drain_schedule_closes_in_order_within_the_period_and_spreads_reconnects_over_the_window(
    period: float, window: float, jitters: list[float]
) -> None:
    slots = drain_schedule(period, window, jitters)
    delays = [slot.delay for slot in slots]
    retries = [slot.retry_after_ms for slot in slots]
    assert delays == sorted(delays)
    assert min(GOAWAY_GRACE, period / 5) <= delays[0] <= delays[-1] <= period
    assert retries == sorted(retries)
    assert 0 <= retries[0] <= retries[-1] <= window * 1000
