import math

from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.auth.gate import MAX_PAUSE, Gate

TICK = 0.25


def open_gate(now: float = 0.0, max_age: float = math.inf) -> Gate:
    gate = Gate(now, max_age)
    gate.on_revocations(now)
    gate.on_audit(now)
    return gate


def test_gate_is_closed_until_revocations_were_read_and_accounts_audited() -> None:
    gate = Gate(10.0, math.inf)
    assert not gate.is_open(10.0)
    gate.on_audit(10.0)
    assert not gate.is_open(10.0)
    gate.on_revocations(10.0)
    assert gate.is_open(10.0)


def test_gate_is_closed_at_once_after_a_pause_before_any_tick() -> None:
    gate = open_gate()
    assert gate.is_open(MAX_PAUSE)
    assert not gate.is_open(MAX_PAUSE + 0.01)
    assert gate.tick(MAX_PAUSE + 0.01)
    assert not gate.is_open(MAX_PAUSE + 0.01)


def test_gate_stays_closed_after_a_pause_if_a_read_had_begun_before_it_woke() -> None:
    gate = open_gate()
    assert gate.tick(60.0)
    for began in (59.9, 60.0):
        gate.on_revocations(began)
        gate.on_audit(60.0)
        assert gate.is_open(60.1) is (began == 60.0)


def test_age_of_revocations_counts_from_the_start_and_then_from_each_read() -> None:
    gate = Gate(10.0, math.inf)
    assert gate.revocations_age(14.0) == 4.0
    gate.on_revocations(20.0)
    assert gate.revocations_age(23.0) == 3.0
    gate.tick(90.0)  # a pause does not make the revocations younger
    assert gate.revocations_age(90.0) == 70.0


def test_gate_that_ticks_in_time_stays_open_without_another_read() -> None:
    gate = open_gate()
    for number in range(1000):
        assert not gate.tick(number * MAX_PAUSE)
        assert gate.is_open(number * MAX_PAUSE)


def test_gate_with_a_maximum_age_closes_and_expires_when_reads_fail() -> None:
    gate = open_gate(max_age=1.0)
    for now, is_open in ((0.5, True), (1.0, True), (1.01, False)):
        assert not gate.tick(now)
        assert gate.is_open(now) is is_open
        assert gate.has_expired(now) is not is_open
    gate.on_revocations(1.2)
    assert gate.is_open(1.3)
    assert not gate.has_expired(1.3)


def test_gate_that_wakes_after_its_maximum_age_has_time_for_a_read() -> None:
    gate = open_gate(max_age=5.0)
    assert gate.tick(100.0)
    assert not gate.is_open(100.0)
    assert not gate.has_expired(105.0)
    assert gate.has_expired(105.1)


# Each step: what happens, and the seconds until then. A read begins, and ends later or never.
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["tick", "begin read", "end read", "begin audit", "end audit"]),
        st.sampled_from([0.0, 0.1, TICK, 1.9, 2.1, 30.0]),
    ),
    max_size=60,
)


@given(_STEPS, st.sampled_from([3.0, math.inf]))
def test_open_gate_proves_reads_that_began_after_the_last_pause(
    steps: list[tuple[str, float]], max_age: float
) -> None:
    """Whatever ends late, and also at a moment between two ticks."""
    gate, now = Gate(0.0, max_age), 0.0
    times = [0.0]  # of the ticks
    began = {"read": -math.inf, "audit": -math.inf}  # of those that run
    done = dict(began)  # of the last that ended
    for step, seconds in steps:
        now += seconds
        verb, _, noun = step.partition(" ")
        if verb == "tick":
            assert gate.tick(now) is (now - times[-1] > MAX_PAUSE)
            times.append(now)
        elif verb == "begin":
            began[noun] = now
        elif began[noun] > -math.inf:
            done[noun] = began[noun]
            (gate.on_revocations if noun == "read" else gate.on_audit)(began[noun])
        pauses = [end for start, end in zip(times, [*times[1:], now], strict=True) if end - start > MAX_PAUSE]
        is_safe = min(done.values()) >= max(pauses, default=0.0) and now - done["read"] <= max_age
        if pauses and pauses[-1] == now and step != "tick":
            is_safe = False  # it has just woken: no read can have begun since
        assert gate.is_open(now) is is_safe
