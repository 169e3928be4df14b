"""One client: what it follows, what it asks for, what it still has to be sent."""

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.limits.connections import Address
from livebalance.gateway.limits.rate import Bucket
from livebalance.gateway.live.effects import Hangup
from livebalance.gateway.live.outbox import Note, Outbox, ready
from livebalance.wire.close import Close
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import (
    Auth,
    Error,
    FrameError,
    Ok,
    Rate,
    Refresh,
    RequestId,
    ServerFrame,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
    decode_client,
    encode,
    position,
)
from livebalance.wire.identity import AccountId, Position, channel_account, channel_name

if TYPE_CHECKING:
    from livebalance.gateway.live.subscribers import Follower

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


class Present(NamedTuple):
    """The client shows a token: its first, or (with the request's id) another."""

    token: str
    request: RequestId | None


Wish = Follow | Leave | Present | Hangup

STRANGER = Hangup(Close.NOT_AUTHENTICATED, "unauthenticated")


class Session:
    """`name` is unique among all gateways; `subscriptions` bounds what it may follow."""

    __slots__ = (
        "_bad",
        "_errors",
        "_messages",
        "_said",
        "_subscribing",
        "_subscriptions",
        "_warnings",
        "address",
        "age_slot",
        "behind",
        "ends",
        "followers",
        "held",
        "name",
        "outbox",
        "reading",
        "rights",
        "slot",
        "unwelcome",
    )

    def __init__(
        self, name: str, address: Address, outbox: Outbox, subscriptions: int, manners: Manners
    ) -> None:
        self.name = name
        self.address = address
        self.rights: Rights | None = None  # None: a stranger, who is told nothing
        self.unwelcome = STRANGER  # how it ends if it stays one
        self.ends = 0.0  # when they do, if it is no stranger
        self.slot: int | None = None  # where `members` has it
        self.age_slot: int | None = None  # until when it may stay, if there is a bound
        self.outbox = outbox
        self.followers: dict[AccountId, Follower] = {}
        self.behind: deque[Follower] = deque()  # may hold some that are not behind any more
        self.reading = 0
        self.held = False  # the hub will remember when its data are due
        self._subscriptions = subscriptions
        self._bad = 0
        self._said = False  # anything at all
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
        for account, at in self.outbox.overflow().items():
            if follower := self.followers.get(account):
                follower.audience.fall(follower, at)

    # --- what it says

    def receive(self, text: bytes, now: float) -> list[Wish]:
        """Answers what needs no one else; returns what does."""
        first, self._said = not self._said, True
        if self.rights is None:
            return [_introduction(text)]
        try:
            if wait := self._messages.take(now):
                raise _too_fast(wait)
            return self._read(text, now, first)
        except FrameError as refused:
            return self._refuse(refused, now)

    def _read(self, text: bytes, now: float, first: bool) -> list[Wish]:
        frame = decode_client(text)
        wishes: list[Wish] = []
        if isinstance(frame, Subscribe):
            wishes.extend(self._subscribe(frame, now))
        elif isinstance(frame, Unsubscribe):
            wishes.extend(Leave(_account(channel, frame.id)) for channel in frame.channels)
        elif isinstance(frame, Refresh):
            return [Present(frame.token, frame.id)]  # its ok comes once the token was checked
        elif isinstance(frame, Rate):
            self.outbox.pace(1 / frame.max_per_second if frame.max_per_second else 0.0)
        elif isinstance(frame, Auth):
            if first:  # a cookie was there as well: what is said goes before it
                return [Present(frame.token, None)]
            raise FrameError("bad_message", "auth is the first message only")
        self.say(Ok(frame.id))
        return wishes

    def _subscribe(self, frame: Subscribe, now: float) -> list[Follow]:
        wanted = {_account(one.channel, frame.id): position(one.position) for one in frame.channels}
        if len(wanted.keys() | self.followers.keys()) > self._subscriptions:
            raise FrameError("limit", f"at most {self._subscriptions} subscriptions", frame.id)
        if wait := self._subscribing.take(now, len(wanted)):
            raise _too_fast(wait, frame.id)
        return [Follow(account, at) for account, at in wanted.items()]

    def no_access(self, account: AccountId, now: float) -> list[Wish]:
        """The same for every account it may not see, whether there is one or not."""
        channel = channel_name(account)
        self.say(Error("no_access", "no access to this account", temporary=False, channel=channel))
        return self._err(now)

    def _err(self, now: float) -> list[Wish]:
        return [Hangup(Close.BUSY, TOO_FAST, BUSY_MS)] if self._errors.take(now) else []

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
        if again is None:
            return self._err(now)
        return [Hangup(Close.BUSY, TOO_FAST, BUSY_MS)] if self._warnings.take(now) else []


def _introduction(text: bytes) -> Present | Hangup:
    """What a stranger says is a token, or the last that is heard of it."""
    try:
        frame = decode_client(text)
    except FrameError:
        return STRANGER
    return Present(frame.token, None) if isinstance(frame, Auth) else STRANGER


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
