"""Budgets of users: HTTP requests per second, and requests at once.

Clients without a valid token share the budget of their address.
"""

from collections import Counter
from typing import Literal, NamedTuple

from livebalance.gateway.limits.rate import RateLimiter

RETRY_AFTER_FULL = 1.0  # seconds
MAX_HOLD = 10.0  # seconds


class RequestLimits(NamedTuple):
    """Limits of the HTTP requests of each user."""

    rate: float  # per second, on average; twice as many at once
    max_requests: int  # that are not answered yet


class Requester(NamedTuple):
    """The subject of a request's token, or the address of a client without a valid token."""

    kind: Literal["user", "address"]
    name: str


class OverBudget(NamedTuple):
    """Why a request is rejected, and the seconds until a retry can succeed.

    The rejection is sent after `hold` seconds: 0, unless the requester ignores many rejections. Sent at once,
    these would cost the gateway more than the requests did.
    """

    reason: Literal["full", "too_fast"]
    retry_after: float
    hold: float


class _State:
    """How fast a requester may send requests, and how fast it gets rejections."""

    __slots__ = ("_rejections", "requests")

    def __init__(self, rate: float) -> None:
        self.requests, self._rejections = RateLimiter(rate, 2 * rate), RateLimiter(rate, 2 * rate)

    def reject(self, reason: Literal["full", "too_fast"], retry_after: float, now: float) -> OverBudget:
        hold = self._rejections.wait(now)
        if hold <= MAX_HOLD:
            self._rejections.consume(now, 1)
        return OverBudget(reason, retry_after, min(hold, MAX_HOLD))

    def is_idle(self, now: float) -> bool:
        return self.requests.is_full(now) and self._rejections.is_full(now)


class RequestBudgets:
    """Admits requests within the budgets. Times are monotonic seconds.

    Remembers only requesters with a request in progress, and those with a recent request.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._in_progress = Counter[Requester]()
        self._states: dict[Requester, _State] = {}  # the requester of the latest request is last

    def admit(self, requester: Requester, now: float) -> OverBudget | None:
        """Counts a request until `release`, and returns None; or returns why it is rejected."""
        self._forget_idle(now)
        state = self._states.pop(requester, None) or _State(self._limits.rate)
        self._states[requester] = state
        if self._in_progress[requester] >= self._limits.max_requests:
            return state.reject("full", RETRY_AFTER_FULL, now)
        if wait := state.requests.try_acquire(now):
            return state.reject("too_fast", wait, now)
        self._in_progress[requester] += 1
        return None

    def release(self, requester: Requester) -> None:
        """Removes an admitted request, which was answered."""
        self._in_progress[requester] -= 1
        if not self._in_progress[requester]:
            del self._in_progress[requester]

    def _forget_idle(self, now: float) -> None:
        """Forgets requesters from the first on, up to one that is not idle."""
        while self._states and self._states[first := next(iter(self._states))].is_idle(now):
            del self._states[first]
