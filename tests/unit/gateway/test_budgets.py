import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livebalance.gateway.limits.budgets import (
    MAX_HOLD,
    RETRY_AFTER_FULL,
    OverBudget,
    RequestBudgets,
    Requester,
    RequestLimits,
)

ALICE, BOB = Requester("user", "alice"), Requester("user", "bob")
ADDRESS = Requester("address", "alice")
LIMITS = RequestLimits(rate=5, max_requests=3)


def test_requester_with_too_many_requests_at_once_is_rejected_until_a_release() -> None:
    budgets = RequestBudgets(LIMITS)
    assert [budgets.admit(ALICE, 0.0) for _ in range(4)] == [None] * 3 + [
        OverBudget("full", RETRY_AFTER_FULL, 0.0)
    ]
    assert [budgets.admit(ADDRESS, 0.0) for _ in range(4)][-1] == OverBudget("full", RETRY_AFTER_FULL, 0.0)
    assert budgets.admit(BOB, 0.0) is None
    budgets.release(ALICE)
    assert budgets.admit(ALICE, 0.0) is None


def test_requester_over_its_rate_gets_the_wait_until_a_retry() -> None:
    budgets = RequestBudgets(LIMITS)
    for _ in range(10):
        assert budgets.admit(ALICE, 0.0) is None
        budgets.release(ALICE)
    rejected = budgets.admit(ALICE, 0.0)
    assert rejected is not None
    assert (rejected.reason, rejected.hold) == ("too_fast", 0.0)
    assert rejected.retry_after == pytest.approx(0.2)
    assert budgets.admit(BOB, 0.0) is None
    assert budgets.admit(ALICE, 0.2 + 1e-6) is None


def test_requester_that_ignores_rejections_gets_them_at_its_rate_or_late() -> None:
    budgets = RequestBudgets(LIMITS)
    for _ in range(3):
        budgets.admit(ALICE, 0.0)
    holds = []
    for _ in range(99):
        rejected = budgets.admit(ALICE, 0.0)
        assert rejected is not None
        holds.append(rejected.hold)
    assert holds[:10] == [0.0] * 10
    assert holds[10:60] == pytest.approx([number / 5 for number in range(1, 51)])
    assert holds[60:] == [MAX_HOLD] * 39
    rejected = budgets.admit(ALICE, 2.0)
    assert rejected is not None
    assert rejected.hold == pytest.approx(MAX_HOLD - 2.0 + 0.2)


def test_request_that_is_rejected_at_once_uses_no_rate() -> None:
    budgets = RequestBudgets(LIMITS)
    for _ in range(100):
        budgets.admit(ALICE, 0.0)
    for _ in range(3):
        budgets.release(ALICE)
    results = []
    for _ in range(8):
        results.append(budgets.admit(ALICE, 0.0))
        if results[-1] is None:
            budgets.release(ALICE)
    assert results.count(None) == 7


def test_rejection_that_is_held_as_long_as_possible_counts_as_the_others() -> None:
    budgets = RequestBudgets(RequestLimits(rate=4, max_requests=1))
    budgets.admit(ALICE, 0.0)
    rejections = [budgets.admit(ALICE, 0.0) for _ in range(48)]
    rejections.append(budgets.admit(ALICE, 0.25))  # the time in which the budget of a rejection returns
    assert [rejected.hold for rejected in rejections if rejected][-3:] == [
        MAX_HOLD - 0.25,
        MAX_HOLD,
        MAX_HOLD,
    ]


class Budgets(RuleBasedStateMachine):
    """The budgets admit within the limits, and remember only requesters that use them."""

    def __init__(self) -> None:
        super().__init__()
        self.budgets, self.now = RequestBudgets(LIMITS), 0.0
        self.in_progress = list[Requester]()
        self.admitted = list[tuple[float, Requester]]()
        self.rejected = dict[Requester, float]()  # the time of the last rejection

    @rule(number=st.integers(0, 9), seconds=st.sampled_from([0.0, 0.0, 0.0, 0.1, 3.0, 15.0]))
    def request(self, number: int, seconds: float) -> None:
        self.now += seconds
        requester = Requester("user" if number % 2 else "address", f"r{number}")
        over = self.budgets.admit(requester, self.now)
        if over is None:
            self.in_progress.append(requester)
            self.admitted.append((self.now, requester))
        else:
            is_full = self.in_progress.count(requester) == LIMITS.max_requests
            assert over.reason == ("full" if is_full else "too_fast")
            assert over.retry_after > 0
            assert 0 <= over.hold <= MAX_HOLD
            self.rejected[requester] = self.now

    @rule(index=st.integers(0, 50))
    def answer(self, index: int) -> None:
        if index < len(self.in_progress):
            self.budgets.release(self.in_progress.pop(index))

    @invariant()
    def limits_hold(self) -> None:
        for requester in {requester for _, requester in self.admitted}:
            assert self.in_progress.count(requester) <= LIMITS.max_requests
            times = [time for time, other in self.admitted if other == requester]
            for first, start in enumerate(times):
                assert len(times) - first <= 2 * LIMITS.rate + LIMITS.rate * (times[-1] - start) + 1e-3

    @invariant()
    def only_used_budgets_are_remembered(self) -> None:
        assert self.budgets._in_progress == {
            requester: self.in_progress.count(requester) for requester in self.in_progress
        }
        recent = {requester for time, requester in self.admitted if self.now - time <= 2.0 + 1e-6}
        recent |= {
            requester for requester, time in self.rejected.items() if self.now - time <= MAX_HOLD + 2.5
        }
        assert set(self.budgets._states) <= recent


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(deadline=None)
