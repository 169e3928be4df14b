"""The session of a client: its subscriptions, its requests and their limits, and its outbox."""

from collections import deque
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.limits.rate import RateLimiter
from livebalance.gateway.live.deadlines import no_deadlines
from livebalance.gateway.live.effects import Disconnect
from livebalance.gateway.live.outbox import Outbox, SessionEvent
from livebalance.wire.close import CloseCode
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import (
    PATCHES,
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
from livebalance.wire.identity import (
    AccountId,
    Position,
    SetName,
    channel_account,
    parse_set,
)

if TYPE_CHECKING:
    from livebalance.gateway.live.sets.subscription import SetSubscription
    from livebalance.gateway.live.subscribers import Subscription

MAX_READS = 16  # of a session at once: their answers arrive together, and must fit the outbox
MAX_BAD_MESSAGES = 3
RATE_LIMITED: Final = "rate_limited"
BUSY_RETRY_AFTER_MS = 10_000  # for a client that ignored its rate limits


class SessionLimits(NamedTuple):
    """Rates per second of a session, on average. A burst may have more, as the comments say."""

    messages: float = 10.0  # three times as many at once
    subscriptions: float = 64.0  # four times as many at once
    errors: float = 50 / 60  # those of a minute at once
    warnings: float = 10 / 60  # `rate_limited` answers before the close; those of a minute at once


class SubscribeAccount(NamedTuple):
    """A request to subscribe to an account. The client has its state at `position`, or None."""

    account: AccountId
    position: Position | None
    wants_patches: bool = False


class UnsubscribeAccount(NamedTuple):
    """A request to unsubscribe from an account."""

    account: AccountId


class SubscribeSet(NamedTuple):
    """A request to subscribe to a set."""

    name: SetName


class UnsubscribeSet(NamedTuple):
    """A request to unsubscribe from a set."""

    name: SetName


class Authenticate(NamedTuple):
    """A token to check. `request` is the id of a `refresh`; None for a session's first token."""

    token: str
    request: RequestId | None


Command = SubscribeAccount | UnsubscribeAccount | SubscribeSet | UnsubscribeSet | Authenticate | Disconnect

NOT_AUTHENTICATED = Disconnect(CloseCode.NOT_AUTHENTICATED, "unauthenticated")
_BUSY = Disconnect(CloseCode.BUSY, RATE_LIMITED, BUSY_RETRY_AFTER_MS)


class Session:
    """State of a client connection, WebSocket or event stream."""

    __slots__ = (
        "_bad_messages",
        "_error_rate",
        "_max_sets",
        "_max_subscriptions",
        "_message_rate",
        "_received_any",
        "_subscription_rate",
        "_warning_rate",
        "address",
        "auth_error",
        "behind",
        "deadlines",
        "is_scheduled",
        "name",
        "outbox",
        "reads",
        "rights",
        "sets",
        "slot",
        "subscriptions",
        "waits_for_room",
    )

    def __init__(
        self,
        name: str,
        address: Address,
        outbox: Outbox,
        max_subscriptions: int,
        limits: SessionLimits,
        *,
        max_sets: int = 0,
    ) -> None:
        """Creates the session of an unauthenticated client. `name` is unique among all gateways."""
        self.name = name
        self.address = address
        self.rights: Rights | None = None  # None: not authenticated, and sent nothing
        self.auth_error = NOT_AUTHENTICATED  # the close if the client does not authenticate in time
        self.deadlines = no_deadlines()
        self.slot: int | None = None
        self.outbox = outbox
        self.subscriptions: dict[AccountId, Subscription] = {}
        self.sets: dict[SetName, SetSubscription] = {}
        self.behind: deque[Subscription] = deque()  # may contain some that are not behind any more
        self.waits_for_room = False  # a set has more to send as soon as the outbox was written
        self.reads = 0  # requested or running
        self.is_scheduled = False  # to be flushed when its delayed data is due
        self._max_subscriptions = max_subscriptions
        self._max_sets = max_sets
        self._bad_messages = 0
        self._received_any = False
        self._message_rate = RateLimiter(limits.messages, 3 * limits.messages)
        self._subscription_rate = RateLimiter(limits.subscriptions, 4 * limits.subscriptions)
        self._error_rate = RateLimiter(limits.errors, 60 * limits.errors)
        self._warning_rate = RateLimiter(limits.warnings, 60 * limits.warnings)

    @property
    def has_room(self) -> bool:
        """Whether another read may begin for this session."""
        return self.outbox.writable and self.reads < MAX_READS

    # --- frames to the client

    def send(self, frame: ServerFrame) -> None:
        """Queues a control message."""
        self.outbox.put_control(encode_frame(frame), _event(frame))

    def overflow(self) -> None:
        """Drops the data that waits. Its subscriptions catch up from where the client is."""
        for source, position in self.outbox.overflow().items():
            if isinstance(source, SetName):
                if of_set := self.sets.get(source):
                    of_set.sets.fall_behind(of_set, position)
            elif subscription := self.subscriptions.get(source):
                subscription.subscribers.fall_behind(subscription, position)

    # --- messages of the client

    def receive(self, text: bytes, now: float) -> list[Command]:
        """Answers what the session can answer alone, and returns commands for the rest."""
        is_first, self._received_any = not self._received_any, True
        if self.rights is None:
            return [_first_command(text)]
        try:
            if wait := self._message_rate.try_acquire(now):
                raise _rate_limited(wait)
            return self._execute(text, now, is_first)
        except FrameError as error:
            return self._reject(error, now)

    def _execute(self, text: bytes, now: float, is_first: bool) -> list[Command]:
        frame = decode_client_frame(text)
        commands: list[Command] = []
        if isinstance(frame, Subscribe):
            commands.extend(self._subscribe(frame, now))
        elif isinstance(frame, Unsubscribe):
            commands.extend(_unsubscribe(channel, frame.id) for channel in frame.channels)
        elif isinstance(frame, Refresh):
            return [Authenticate(frame.token, frame.id)]  # answered with `ok` once the token was checked
        elif isinstance(frame, Rate):
            self.outbox.set_interval(1 / frame.max_per_second if frame.max_per_second else 0.0)
            if not self.outbox.fit():
                self.overflow()
        elif isinstance(frame, Auth):
            if is_first:  # replaces the token of the cookie
                return [Authenticate(frame.token, None)]
            raise FrameError("bad_message", "auth must be the first message")
        self.send(Ok(frame.id))
        return commands

    def _subscribe(self, frame: Subscribe, now: float) -> list[Command]:
        positions, sets = {}, set()
        for request in frame.channels:
            if name := parse_set(request.channel):
                sets.add(name)
            else:
                positions[_account(request.channel, frame.id)] = parse_position(request.position)
        if len(positions.keys() | self.subscriptions.keys()) > self._max_subscriptions:
            raise FrameError("limit", f"at most {self._max_subscriptions} subscriptions", frame.id)
        if len(sets | self.sets.keys()) > self._max_sets:
            raise FrameError("limit", f"at most {self._max_sets} sets", frame.id)
        if wait := self._subscription_rate.try_acquire(now, len(positions) + len(sets)):
            raise _rate_limited(wait, frame.id)
        return [
            *(SubscribeAccount(*entry, PATCHES in frame.features) for entry in positions.items()),
            *(SubscribeSet(name) for name in sorted(sets)),
        ]

    def deny_access(self, channel: str) -> None:
        """Answers `no_access`: the same whether an account exists or not. `count_error` follows."""
        kind = "set" if parse_set(channel) else "account"
        self.send(Error("no_access", f"no access to this {kind}", temporary=False, channel=channel))

    def count_error(self, now: float) -> list[Command]:
        """Counts a message that was answered with errors, however many channels it named."""
        return [_BUSY] if self._error_rate.try_acquire(now) else []

    def _reject(self, error: FrameError, now: float) -> list[Command]:
        retry_after_ms = error.retry_after_ms
        self.send(
            Error(
                error.code,
                error.message,
                temporary=retry_after_ms is not None,
                id=UNSET if error.id is None else error.id,
                retry_after_ms=UNSET if retry_after_ms is None else retry_after_ms,
            )
        )
        self._bad_messages += error.code == "bad_message"
        if self._bad_messages == MAX_BAD_MESSAGES:
            return [Disconnect(CloseCode.BROKEN_PROTOCOL, "bad_message")]
        if retry_after_ms is None:
            return self.count_error(now)
        return [_BUSY] if self._warning_rate.try_acquire(now) else []


def _first_command(text: bytes) -> Authenticate | Disconnect:
    """Returns the command of an unauthenticated client, which may only send a token."""
    try:
        frame = decode_client_frame(text)
    except FrameError:
        return NOT_AUTHENTICATED
    return Authenticate(frame.token, None) if isinstance(frame, Auth) else NOT_AUTHENTICATED


def _event(frame: ServerFrame) -> SessionEvent | None:
    if isinstance(frame, Error):
        return SessionEvent("error", frame.code)
    return SessionEvent("unsubscribed", frame.code) if isinstance(frame, Unsubscribed) else None


def _rate_limited(wait: float, request: RequestId | None = None) -> FrameError:
    return FrameError(RATE_LIMITED, "too many requests", request, ceil(wait * 1000))


def _unsubscribe(channel: str, request: RequestId) -> Command:
    name = parse_set(channel)
    return UnsubscribeSet(name) if name else UnsubscribeAccount(_account(channel, request))


def _account(channel: str, request: RequestId) -> AccountId:
    """Returns the account of a channel. The error does not echo the channel."""
    try:
        return channel_account(channel)
    except DecodeError as cause:
        raise FrameError("bad_account", "not a channel of an account", request) from cause
