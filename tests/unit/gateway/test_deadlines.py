from math import inf

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livebalance.gateway.live.deadlines import SLOT_SECONDS, Deadline, Deadlines, no_deadlines


class Timed:
    def __init__(self) -> None:
        self.deadlines = no_deadlines()
        self.slot: int | None = None


def test_deadlines_of_a_session_are_popped_once_each_and_in_order() -> None:
    deadlines, session = Deadlines[Timed](), Timed()
    deadlines.set(session, Deadline.HEARTBEAT, 10.2)
    deadlines.set(session, Deadline.AUTHENTICATE, 10.1)
    deadlines.set(session, Deadline.CHECK, 12.0)
    assert list(deadlines.pop_due(10.2)) == []
    assert list(deadlines.pop_due(10.25)) == [
        (session, Deadline.AUTHENTICATE, 10.1),
        (session, Deadline.HEARTBEAT, 10.2),
    ]
    assert list(deadlines.pop_due(11.9)) == []
    assert list(deadlines.pop_due(99.0)) == [(session, Deadline.CHECK, 12.0)]


def test_deadline_that_has_passed_is_due_at_the_next_tick() -> None:
    deadlines, session = Deadlines[Timed](), Timed()
    assert list(deadlines.pop_due(99.0)) == []
    deadlines.set(session, Deadline.CONFIRM, 3.0)
    assert list(deadlines.pop_due(99.2)) == []
    assert list(deadlines.pop_due(99.25)) == [(session, Deadline.CONFIRM, 3.0)]


def test_late_tick_handles_what_became_due_meanwhile() -> None:
    deadlines, session = Deadlines[Timed](), Timed()
    deadlines.set(session, Deadline.AUTHENTICATE, 5.0)
    deadlines.set(session, Deadline.AUTHENTICATE, inf)
    deadlines.set(session, Deadline.HEARTBEAT, 10.0)
    assert list(deadlines.pop_due(11.0)) == [(session, Deadline.HEARTBEAT, 10.0)]


@given(st.lists(st.integers(0, 3)), st.integers(0, 3))
def test_session_that_is_removed_while_others_are_handled_has_nothing_due(
    order: list[int], victim: int
) -> None:
    deadlines, sessions = Deadlines[Timed](), [Timed() for _ in range(4)]
    for number in dict.fromkeys(order):
        deadlines.set(sessions[number], Deadline.HEARTBEAT, 1.0)
    popped: list[Timed] = []
    for session, _, _ in deadlines.pop_due(1.0):
        if not popped:
            deadlines.remove(sessions[victim])
        popped.append(session)
    expected = [number for place, number in enumerate(dict.fromkeys(order)) if number != victim or not place]
    assert popped == [sessions[number] for number in expected]
    assert not list(deadlines.pop_due(99.0))


class DeadlinesMachine(RuleBasedStateMachine):
    """Compares the wheel with a dictionary of all deadlines."""

    def __init__(self) -> None:
        super().__init__()
        self.wheel = Deadlines[Timed]()
        self.sessions = [Timed() for _ in range(5)]
        self.expected: dict[tuple[int, Deadline], float] = {}
        self.now = 0.0

    @rule(number=st.integers(0, 4), kind=st.sampled_from(Deadline), wait=st.floats(-2, 30) | st.just(inf))
    def set(self, number: int, kind: Deadline, wait: float) -> None:
        self.wheel.set(self.sessions[number], kind, self.now + wait)
        self.expected[number, kind] = self.now + wait

    @rule(number=st.integers(0, 4))
    def remove(self, number: int) -> None:
        self.wheel.remove(self.sessions[number])
        self.expected = {key: due for key, due in self.expected.items() if key[0] != number}

    @rule(passed=st.floats(0.25, 20))
    def advance(self, passed: float) -> None:
        self.now += passed
        popped = {(self.sessions.index(session), kind) for session, kind, _ in self.wheel.pop_due(self.now)}
        late = {key for key, due in self.expected.items() if due <= self.now - SLOT_SECONDS}
        assert late <= popped
        assert all(self.expected.pop(key) <= self.now for key in popped)

    @precondition(lambda self: self.expected)
    @invariant()
    def wheel_holds_each_session_at_most_once(self) -> None:
        held = [session for slot in self.wheel._slots.values() for session in slot]
        assert len(held) == len({id(session) for session in held})
        waiting = {number for (number, _), due in self.expected.items() if due != inf}
        assert {self.sessions.index(session) for session in held} >= waiting
        assert all(self.wheel._slots.values())


TestDeadlines = DeadlinesMachine.TestCase
