from itertools import pairwise

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


def test_readiness_with_rare_audits_waits_longer_for_the_next() -> None:
    readiness = Readiness(audit_delay=100.0)
    readiness.redis_connected, readiness.audited_at = True, 0.0
    assert readiness.not_admitting(has_keys=True, now=MAX_AUDIT_AGE + 100.0) is None
    assert readiness.not_admitting(has_keys=True, now=MAX_AUDIT_AGE + 100.1) == "no recent audit"


def test_draining_gateway_admits_no_client() -> None:
    readiness = Readiness()
    readiness.redis_connected, readiness.audited_at = True, 100.0
    assert readiness.not_admitting(has_keys=True, now=100.0) is None
    readiness.is_draining = True
    assert readiness.not_admitting(has_keys=True, now=100.0) == "draining"


@given(st.integers(1, 1000), st.floats(0, 100))
def test_drain_schedule_closes_evenly_over_the_window_after_a_grace(count: int, window: float) -> None:
    delays = drain_schedule(count, window)
    grace = min(GOAWAY_GRACE, window / 5)
    assert len(delays) == count
    assert delays == sorted(delays)
    assert grace <= delays[0] <= delays[-1] <= window
    assert all(later - earlier <= (window - grace) / count + 1e-9 for earlier, later in pairwise(delays))
