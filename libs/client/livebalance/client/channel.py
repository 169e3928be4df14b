"""The channel of an account within a session: its state, and the request that is due or unanswered."""

from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from livebalance.client.account import Account
from livebalance.client.backoff import backoff_delay
from livebalance.wire.frame import ChannelRequest, DeltaFrame, encode_position
from livebalance.wire.identity import AccountId, channel_name

ANSWER_TIMEOUT = 10.0  # seconds until a request without an answer is sent again


class Phase(Enum):
    """Phase of a channel's subscription."""

    PENDING = auto()  # a request is sent at `due`
    REQUESTED = auto()  # the answer is expected before `due`
    LIVE = auto()  # deltas follow


@dataclass(slots=True)
class Channel:
    """Keeps its state through gaps, errors and reconnects: the next request contains the state's position."""

    account: AccountId
    state: Account | None = None
    phase: Phase = Phase.PENDING
    due: float = 0.0
    request_id: int = 0  # of the last request on this connection; 0: none
    failures: int = 0  # since the last frame that applied
    received: DeltaFrame | None = None  # the last frame, if it was a delta: to which the next patch refers

    def to_request(self) -> ChannelRequest:
        """Returns the channel's part of a subscribe frame."""
        position = encode_position(self.state.position) if self.state else None
        return ChannelRequest(channel_name(self.account), position)

    def request_sent(self, request_id: int, now: float) -> None:
        """Records that a subscribe frame with this id contains the channel."""
        self.phase, self.request_id, self.due = Phase.REQUESTED, request_id, now + ANSWER_TIMEOUT

    def request_ok(self) -> None:
        """Handles the `ok` of the request.

        If nothing was missed since the position in the request, no other answer follows.
        """
        if self.state:
            self.phase, self.due = Phase.LIVE, inf

    def change(self, state: Account) -> None:
        """Sets the state after a frame that applied."""
        self.state, self.phase, self.due, self.failures = state, Phase.LIVE, inf, 0

    def request_at(self, due: float = 0.0) -> None:
        """Schedules a request."""
        self.phase, self.due = Phase.PENDING, due

    def retry_later(self, now: float, jitter: float, min_delay: float = 0.0) -> None:
        """Schedules the request again, later with each failure. After a first gap it is due at once.

        Args:
            now: Seconds on a clock that never goes back.
            jitter: A random number in [0, 1).
            min_delay: Seconds that the gateway asked for.
        """
        delay = min_delay if not self.failures else max(min_delay, backoff_delay(self.failures, jitter))
        self.failures += 1
        self.request_at(now + delay)
