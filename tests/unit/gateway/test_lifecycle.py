"""Whether clients may come: what is missing is said, and who is still sent here while it goes is let in."""

from livebalance.gateway.lifecycle import AUDITED_WITHIN, Readiness


def open_gate() -> Readiness:
    gate = Readiness()
    gate.redis_here, gate.audited_at = True, 100.0
    return gate


def test_what_is_missing_is_said() -> None:
    gate = Readiness()
    assert gate.not_ready(keys=False, now=0.0) == "redis is away"
    gate.redis_here = True
    assert gate.not_ready(keys=False, now=0.0) == "no keys or revocations yet"
    assert gate.not_ready(keys=True, now=0.0) == "no audit of late"
    gate.audited_at = 0.0
    assert gate.not_ready(keys=True, now=AUDITED_WITHIN) is None
    assert gate.not_ready(keys=True, now=AUDITED_WITHIN + 0.1) == "no audit of late"


def test_who_goes_says_so_before_it_lets_nobody_in() -> None:
    gate = open_gate()
    gate.leaving = True
    assert (gate.not_ready(keys=True, now=100.0), gate.closed(keys=True, now=100.0)) == ("draining", None)
    gate.draining = True
    assert gate.closed(keys=True, now=100.0) == "draining"
