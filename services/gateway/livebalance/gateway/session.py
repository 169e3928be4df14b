"""One client: what it follows, what it asks for, what it still has to be sent."""

from collections import deque
from typing import NamedTuple

from livebalance.gateway.effects import Hangup
from livebalance.gateway.follower import Follower
from livebalance.gateway.outbox import Outbox, ready
from livebalance.wire.close import Close
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import (
    Error,
    FrameError,
    Ok,
    Rate,
    RequestId,
    ServerFrame,
    Subscribe,
    Unsubscribe,
    decode_client,
    encode,
    position,
)
from livebalance.wire.identity import AccountId, Position, channel_account

READS_AT_ONCE = 16  # for one session: what they bring comes at once, and must not be much
BAD_MESSAGES = 3


class Follow(NamedTuple):
    """The client wants an account, from a position or from nothing."""

    account: AccountId
    at: Position | None


class Leave(NamedTuple):
    account: AccountId


Wish = Follow | Leave | Hangup


class Session:
    """`name` is unique among all gateways; `subscriptions` bounds what it may follow."""

    __slots__ = ("_bad", "_subscriptions", "behind", "followers", "held", "name", "outbox", "reading")

    def __init__(self, name: str, outbox: Outbox, subscriptions: int) -> None:
        self.name = name
        self.outbox = outbox
        self.followers: dict[AccountId, Follower] = {}
        self.behind: deque[Follower] = deque()  # may hold some that are not behind any more
        self.reading = 0
        self.held = False  # the hub will remember when its data are due
        self._subscriptions = subscriptions
        self._bad = 0

    @property
    def has_room(self) -> bool:
        """Another read may begin for it."""
        return self.outbox.writable and self.reading < READS_AT_ONCE

    # --- what it is told

    def say(self, frame: ServerFrame) -> None:
        self.outbox.say(ready(encode(frame)))

    def beat(self, frame: ServerFrame) -> None:
        self.outbox.beat(ready(encode(frame)))

    def overflow(self) -> None:
        """No room: what waits is forgotten, and will be read again from where the client is."""
        for account, at in self.outbox.forget_all().items():
            if follower := self.followers.get(account):
                follower.audience.fall(follower, at)

    # --- what it says

    def receive(self, text: bytes) -> list[Wish]:
        """Answers what needs no one else; returns what does."""
        try:
            wishes = self._read(text)
        except FrameError as refused:
            return self._refuse(refused)
        return wishes

    def _read(self, text: bytes) -> list[Wish]:
        frame = decode_client(text)
        wishes: list[Wish] = []
        if isinstance(frame, Subscribe):
            wishes.extend(self._subscribe(frame))
        elif isinstance(frame, Unsubscribe):
            wishes.extend(Leave(_account(channel, frame.id)) for channel in frame.channels)
        elif isinstance(frame, Rate):
            self.outbox.pace(1 / frame.max_per_second if frame.max_per_second else 0.0)
        self.say(Ok(frame.id))
        return wishes

    def _subscribe(self, frame: Subscribe) -> list[Follow]:
        wanted = {_account(one.channel, frame.id): position(one.position) for one in frame.channels}
        if len(wanted.keys() | self.followers.keys()) > self._subscriptions:
            raise FrameError("limit", f"at most {self._subscriptions} subscriptions", frame.id)
        return [Follow(account, at) for account, at in wanted.items()]

    def _refuse(self, refused: FrameError) -> list[Wish]:
        if refused.id is None:
            self.say(Error(refused.code, refused.message, temporary=False))
        else:
            self.say(Error(refused.code, refused.message, temporary=False, id=refused.id))
        self._bad += refused.code == "bad_message"
        return [Hangup(Close.BROKEN_PROTOCOL, "bad_message")] if self._bad == BAD_MESSAGES else []


def _account(channel: str, request: RequestId) -> AccountId:
    """The error does not echo what was asked for."""
    try:
        return channel_account(channel)
    except DecodeError as cause:
        raise FrameError("bad_account", "not a channel of an account", request) from cause
