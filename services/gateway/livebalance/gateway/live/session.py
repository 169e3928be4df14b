"""One client: what it follows, what it asks for, what it still has to be sent."""

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.limits.connections import Address
from livebalance.gateway.limits.rate import RateLimiter
from livebalance.gateway.live.effects import Disconnect
from livebalance.gateway.live.outbox import Outbox, SessionEvent
from livebalance.wire.close import CloseCode
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
    decode_client_frame,
    encode_frame,
    parse_position,
)
from livebalance.wire.identity import AccountId, Position, channel_account, channel_name

if TYPE_CHECKING:
    from livebalance.gateway.live.subscribers import Subscription

READS_AT_ONCE = 16  # for one session: what they bring comes at once, and must not be much
BAD_MESSAGES = 3
TOO_FAST: Final = "rate_limited"
BUSY_MS = 10_000  # a client that will not be slowed down may come back then


class SessionLimits(NamedTuple):
    """How often a client may ask, a second; in brackets, at once."""

    messages: float = 10.0  # (three times as many)
    subscriptions: float = 64.0  # (four times as many)
    errors: float = 50 / 60  # (a minute's)
    warnings: float = 10 / 60  # (a minute's) that it asks too often, before it is closed


class SubscribeAccount(NamedTuple):
    """The client wants an account, from a position or from nothing."""

    account: AccountId
    at: Position | None


class UnsubscribeAccount(NamedTuple):
    account: AccountId


class Authenticate(NamedTuple):
    """The client shows a token: its first, or (with the request's id) another."""

    token: str
    request: RequestId | None


Command = SubscribeAccount | UnsubscribeAccount | Authenticate | Disconnect

NOT_AUTHENTICATED = Disconnect(CloseCode.NOT_AUTHENTICATED, "unauthenticated")


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
        self, name: str, address: Address, outbox: Outbox, subscriptions: int, manners: SessionLimits
    ) -> None:
        self.name = name
        self.address = address
        self.rights: Rights | None = None  # None: a stranger, who is told nothing
        self.unwelcome = NOT_AUTHENTICATED  # how it ends if it stays one
        self.ends = 0.0  # when they do, if it is no stranger
        self.slot: int | None = None  # where `members` has it
        self.age_slot: int | None = None  # until when it may stay, if there is a bound
        self.outbox = outbox
        self.followers: dict[AccountId, Subscription] = {}
        self.behind: deque[Subscription] = deque()  # may hold some that are not behind any more
        self.reading = 0
        self.held = False  # the hub will remember when its data are due
        self._subscriptions = subscriptions
        self._bad = 0
        self._said = False  # anything at all
        self._messages = RateLimiter(manners.messages, 3 * manners.messages)
        self._subscribing = RateLimiter(manners.subscriptions, 4 * manners.subscriptions)
        self._errors = RateLimiter(manners.errors, 60 * manners.errors)
        self._warnings = RateLimiter(manners.warnings, 60 * manners.warnings)

    @property
    def has_room(self) -> bool:
        """Another read may begin for it."""
        return self.outbox.writable and self.reading < READS_AT_ONCE

    # --- what it is told

    def say(self, frame: ServerFrame) -> None:
        self.outbox.say(encode_frame(frame), _note(frame))

    def beat(self, frame: ServerFrame) -> None:
        self.outbox.beat(encode_frame(frame))

    def overflow(self) -> None:
        """No room: what waits is forgotten, and will be read again from where the client is."""
        for account, at in self.outbox.overflow().items():
            if follower := self.followers.get(account):
                follower.audience.fall(follower, at)

    # --- what it says

    def receive(self, text: bytes, now: float) -> list[Command]:
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

    def _read(self, text: bytes, now: float, first: bool) -> list[Command]:
        frame = decode_client_frame(text)
        wishes: list[Command] = []
        if isinstance(frame, Subscribe):
            wishes.extend(self._subscribe(frame, now))
        elif isinstance(frame, Unsubscribe):
            wishes.extend(UnsubscribeAccount(_account(channel, frame.id)) for channel in frame.channels)
        elif isinstance(frame, Refresh):
            return [Authenticate(frame.token, frame.id)]  # its ok comes once the token was checked
        elif isinstance(frame, Rate):
            self.outbox.pace(1 / frame.max_per_second if frame.max_per_second else 0.0)
        elif isinstance(frame, Auth):
            if first:  # a cookie was there as well: what is said goes before it
                return [Authenticate(frame.token, None)]
            raise FrameError("bad_message", "auth is the first message only")
        self.say(Ok(frame.id))
        return wishes

    def _subscribe(self, frame: Subscribe, now: float) -> list[SubscribeAccount]:
        wanted = {_account(one.channel, frame.id): parse_position(one.position) for one in frame.channels}
        if len(wanted.keys() | self.followers.keys()) > self._subscriptions:
            raise FrameError("limit", f"at most {self._subscriptions} subscriptions", frame.id)
        if wait := self._subscribing.take(now, len(wanted)):
            raise _too_fast(wait, frame.id)
        return [SubscribeAccount(account, at) for account, at in wanted.items()]

    def no_access(self, account: AccountId, now: float) -> list[Command]:
        """The same for every account it may not see, whether there is one or not."""
        channel = channel_name(account)
        self.say(Error("no_access", "no access to this account", temporary=False, channel=channel))
        return self._err(now)

    def _err(self, now: float) -> list[Command]:
        return [Disconnect(CloseCode.BUSY, TOO_FAST, BUSY_MS)] if self._errors.take(now) else []

    def _refuse(self, refused: FrameError, now: float) -> list[Command]:
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
            return [Disconnect(CloseCode.BROKEN_PROTOCOL, "bad_message")]
        if again is None:
            return self._err(now)
        return [Disconnect(CloseCode.BUSY, TOO_FAST, BUSY_MS)] if self._warnings.take(now) else []


def _introduction(text: bytes) -> Authenticate | Disconnect:
    """What a stranger says is a token, or the last that is heard of it."""
    try:
        frame = decode_client_frame(text)
    except FrameError:
        return NOT_AUTHENTICATED
    return Authenticate(frame.token, None) if isinstance(frame, Auth) else NOT_AUTHENTICATED


def _note(frame: ServerFrame) -> SessionEvent | None:
    if isinstance(frame, Error):
        return SessionEvent("error", frame.code)
    return SessionEvent("unsubscribed", frame.code) if isinstance(frame, Unsubscribed) else None


def _too_fast(wait: float, request: RequestId | None = None) -> FrameError:
    return FrameError(TOO_FAST, "asked too often", request, ceil(wait * 1000))


def _account(channel: str, request: RequestId) -> AccountId:
    """The error does not echo what was asked for."""
    try:
        return channel_account(channel)
    except DecodeError as cause:
        raise FrameError("bad_account", "not a channel of an account", request) from cause
