"""One client: what it follows, what it asks for, what it still has to be sent."""

from collections import deque
from math import ceil
from typing import Final, NamedTuple

from msgspec import UNSET

from livebalance.gateway.bucket import Bucket
from livebalance.gateway.doorman import Address
from livebalance.gateway.effects import Hangup
from livebalance.gateway.follower import Follower
from livebalance.gateway.outbox import Note, Outbox, ready
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
    Unsubscribed,
    decode_client,
    encode,
    position,
)
from livebalance.wire.identity import AccountId, Position, channel_account

READS_AT_ONCE = 16  # for one session: what they bring comes at once, and must not be much
BAD_MESSAGES = 3
TOO_FAST: Final = "rate_limited"
BUSY_MS = 10_000  # a client that will not be slowed down may come back then


class Manners(NamedTuple):
    """How often a client may ask, a second; in brackets, at once."""

    messages: float = 10.0  # (three times as many)
    subscriptions: float = 64.0  # (four times as many)
    errors: float = 50 / 60  # (a minute's)
    warnings: float = 10 / 60  # (a minute's) that it asks too often, before it is closed


class Follow(NamedTuple):
    """The client wants an account, from a position or from nothing."""

    account: AccountId
    at: Position | None


class Leave(NamedTuple):
    account: AccountId


Wish = Follow | Leave | Hangup


class Session:
    """`name` is unique among all gateways; `subscriptions` bounds what it may follow."""

    __slots__ = (
        "_bad",
        "_errors",
        "_messages",
        "_subscribing",
        "_subscriptions",
        "_warnings",
        "address",
        "behind",
        "followers",
        "held",
        "name",
        "outbox",
        "reading",
    )

    def __init__(
        self, name: str, address: Address, outbox: Outbox, subscriptions: int, manners: Manners
    ) -> None:
        self.name = name
        self.address = address
        self.outbox = outbox
        self.followers: dict[AccountId, Follower] = {}
        self.behind: deque[Follower] = deque()  # may hold some that are not behind any more
        self.reading = 0
        self.held = False  # the hub will remember when its data are due
        self._subscriptions = subscriptions
        self._bad = 0
        self._messages = Bucket(manners.messages, 3 * manners.messages)
        self._subscribing = Bucket(manners.subscriptions, 4 * manners.subscriptions)
        self._errors = Bucket(manners.errors, 60 * manners.errors)
        self._warnings = Bucket(manners.warnings, 60 * manners.warnings)

    @property
    def has_room(self) -> bool:
        """Another read may begin for it."""
        return self.outbox.writable and self.reading < READS_AT_ONCE

    # --- what it is told

    def say(self, frame: ServerFrame) -> None:
        self.outbox.say(ready(encode(frame)), _note(frame))

    def beat(self, frame: ServerFrame) -> None:
        self.outbox.beat(ready(encode(frame)))

    def overflow(self) -> None:
        """No room: what waits is forgotten, and will be read again from where the client is."""
        for account, at in self.outbox.forget_all().items():
            if follower := self.followers.get(account):
                follower.audience.fall(follower, at)

    # --- what it says

    def receive(self, text: bytes, now: float) -> list[Wish]:
        """Answers what needs no one else; returns what does."""
        try:
            if wait := self._messages.take(now):
                raise _too_fast(wait)
            return self._read(text, now)
        except FrameError as refused:
            return self._refuse(refused, now)

    def _read(self, text: bytes, now: float) -> list[Wish]:
        frame = decode_client(text)
        wishes: list[Wish] = []
        if isinstance(frame, Subscribe):
            wishes.extend(self._subscribe(frame, now))
        elif isinstance(frame, Unsubscribe):
            wishes.extend(Leave(_account(channel, frame.id)) for channel in frame.channels)
        elif isinstance(frame, Rate):
            self.outbox.pace(1 / frame.max_per_second if frame.max_per_second else 0.0)
        self.say(Ok(frame.id))
        return wishes

    def _subscribe(self, frame: Subscribe, now: float) -> list[Follow]:
        wanted = {_account(one.channel, frame.id): position(one.position) for one in frame.channels}
        if len(wanted.keys() | self.followers.keys()) > self._subscriptions:
            raise FrameError("limit", f"at most {self._subscriptions} subscriptions", frame.id)
        if wait := self._subscribing.take(now, len(wanted)):
            raise _too_fast(wait, frame.id)
        return [Follow(account, at) for account, at in wanted.items()]

    def _refuse(self, refused: FrameError, now: float) -> list[Wish]:
        again = refused.retry_after_ms
        self.say(
            Error(
                refused.code,
                refused.message,
                temporary=again is not None,
                id=UNSET if refused.id is None else refused.id,
                retry_after_ms=UNSET if again is None else again,
            )
        )
        self._bad += refused.code == "bad_message"
        if self._bad == BAD_MESSAGES:
            return [Hangup(Close.BROKEN_PROTOCOL, "bad_message")]
        if (self._errors if again is None else self._warnings).take(now):
            return [Hangup(Close.BUSY, TOO_FAST, BUSY_MS)]
        return []


def _note(frame: ServerFrame) -> Note | None:
    if isinstance(frame, Error):
        return Note("error", frame.code)
    return Note("unsubscribed", frame.code) if isinstance(frame, Unsubscribed) else None


def _too_fast(wait: float, request: RequestId | None = None) -> FrameError:
    return FrameError(TOO_FAST, "asked too often", request, ceil(wait * 1000))


def _account(channel: str, request: RequestId) -> AccountId:
    """The error does not echo what was asked for."""
    try:
        return channel_account(channel)
    except DecodeError as cause:
        raise FrameError("bad_account", "not a channel of an account", request) from cause
