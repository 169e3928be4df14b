"""The sets of accounts that a client follows: requests to send, and frames that change them (decision 36)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from msgspec import UNSET

from livebalance.client.backoff import backoff_delay
from livebalance.client.channel import ANSWER_TIMEOUT
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import (
    ChannelRequest,
    ClientFrame,
    Error,
    SetDelta,
    SetSnapshot,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
)
from livebalance.wire.identity import AccountId, Epoch, SetName, parse_set
from livebalance.wire.views import MemberView, TotalView

_REQUEST = "set-"  # begins the ids of requests


class AccountSet(NamedTuple):
    """A set at a position: the epoch, and the number of the newest batch of each lane. Nothing changes it."""

    name: SetName
    epoch: Epoch
    lanes: Mapping[str, int]
    members: Mapping[AccountId, MemberView]
    totals: tuple[TotalView, ...]


class SetChanged(NamedTuple):
    """The new state of a set, and its last frame. Frames between two positions cause no event."""

    set: AccountSet
    frame: SetSnapshot | SetDelta


class SetEnded(NamedTuple):
    """The client no longer follows the set: rejected (no_access, limit, ...) or revoked."""

    name: SetName
    code: str
    message: str


SetEvent = SetChanged | SetEnded | Error
SetFrame = SetSnapshot | SetDelta | Error | Unsubscribed


@dataclass(slots=True)
class _State:
    """A set as far as frames have arrived. `number` is that of the newest change; None: no snapshot yet."""

    name: SetName
    due: float = 0.0  # when to send the request, if it is not answered before
    failures: int = 0  # since the last frame that applied
    request: str | None = None  # id of the request that was sent
    number: int | None = None
    members: dict[AccountId, MemberView] = field(default_factory=dict)
    lanes: dict[str, int] = field(default_factory=dict)
    set: AccountSet | None = None  # at the last position

    def apply(self, frame: SetSnapshot | SetDelta) -> bool:
        """Applies a frame, if it is a snapshot or follows the state. Returns whether it does."""
        if isinstance(frame, SetSnapshot):
            self.members, self.lanes = {}, {}
        elif self.number != frame.from_:
            return False
        else:
            for account in frame.left:
                self.members.pop(account, None)
        self.members.update({member.account: member for member in frame.members})
        self.number, self.due, self.failures = frame.to, inf, 0
        if frame.lanes is not UNSET and frame.totals is not UNSET:
            self.lanes.update(frame.lanes)
            members, lanes = MappingProxyType(self.members.copy()), dict(self.lanes)
            self.set = AccountSet(self.name, Epoch(frame.epoch), lanes, members, tuple(frame.totals))
        return True

    def request_at(self, due: float) -> None:
        self.due, self.request, self.number = due, None, None


class SetChannels:
    """All sets of a session. `due` is the time until which `requests` must be called."""

    def __init__(self) -> None:
        self.due = inf
        self._sets: dict[SetName, _State] = {}
        self._unfollowed: list[SetName] = []  # the gateway does not know it yet
        self._requests = 0

    def follow(self, channel: str) -> None:
        """Adds a set: `prefix:<prefix>` or `client:<client id>`.

        Raises:
            DecodeError: `channel` is not the name of a set.
        """
        name = parse_set(channel)
        if name is None:
            raise DecodeError("not the name of a set")
        self._sets.setdefault(name, _State(name))
        self.due = 0.0

    def unfollow(self, channel: str) -> None:
        """Removes a set."""
        name = parse_set(channel)
        if name and self._sets.pop(name, None):
            self._unfollowed.append(name)
            self.due = 0.0

    def state(self, channel: str) -> AccountSet | None:
        """Returns a set at its last position, or None before the first."""
        name = parse_set(channel)
        state = self._sets.get(name) if name else None
        return state.set if state else None

    def resubscribe_all(self) -> None:
        """Schedules a request for each set. Called when the connection was lost: the next has none."""
        self._unfollowed.clear()
        for state in self._sets.values():
            state.request_at(0.0)
        self.due = 0.0 if self._sets else inf

    def requests(self, now: float, jitter: float) -> Iterator[ClientFrame]:
        """Yields the requests that are due."""
        for state in self._sets.values():
            if state.due <= now and state.request:  # no answer
                self._retry(state, now, jitter)
        if self._unfollowed:
            yield Unsubscribe(self._next_id(), [name.channel for name in self._unfollowed])
            self._unfollowed = []
        due = [state for state in self._sets.values() if state.due <= now]
        request = self._next_id() if due else None
        if request:
            yield Subscribe(request, [ChannelRequest(state.name.channel) for state in due])
        for state in due:
            state.due, state.request = now + ANSWER_TIMEOUT, request
        self.due = min((state.due for state in self._sets.values()), default=inf)

    def _next_id(self) -> str:
        self._requests += 1
        return f"{_REQUEST}{self._requests}"

    def concerns(self, frame: Error | Unsubscribed) -> bool:
        """Returns whether a frame is of a set, or answers a request for sets."""
        if isinstance(frame.channel, str):
            return parse_set(frame.channel) is not None
        return isinstance(frame, Error) and str(frame.id).startswith(_REQUEST)

    def receive(self, frame: SetFrame, now: float, jitter: float) -> list[SetEvent]:
        """Applies a frame of a set, and returns the events that it causes."""
        states = self._concerned(frame)  # none if the set was unfollowed
        if isinstance(frame, SetSnapshot | SetDelta):
            return [event for state in states for event in self._change(state, frame, now, jitter)]
        if isinstance(frame, Error) and frame.temporary:
            delay = frame.retry_after_ms / 1000 if isinstance(frame.retry_after_ms, int) else 0.0
            for state in states:
                self._retry(state, now, jitter, delay)
            return [frame] if states else []
        for state in states:
            del self._sets[state.name]
        return [SetEnded(state.name, frame.code, frame.message) for state in states]

    def _concerned(self, frame: SetFrame) -> list[_State]:
        if isinstance(frame, Error) and not isinstance(frame.channel, str):
            return [state for state in self._sets.values() if state.request == frame.id]
        name = parse_set(frame.channel) if isinstance(frame.channel, str) else None
        return [self._sets[name]] if name in self._sets else []

    def _change(
        self, state: _State, frame: SetSnapshot | SetDelta, now: float, jitter: float
    ) -> list[SetEvent]:
        if state.apply(frame):
            return [SetChanged(state.set, frame)] if state.set and not frame.more else []
        if state.number is not None:
            self._retry(state, now, jitter)  # a frame is missing
        return []

    def _retry(self, state: _State, now: float, jitter: float, min_delay: float = 0.0) -> None:
        delay = max(min_delay, backoff_delay(state.failures, jitter) if state.failures else 0.0)
        state.failures += 1
        state.request_at(now + delay)
        self.due = min(self.due, state.due)
