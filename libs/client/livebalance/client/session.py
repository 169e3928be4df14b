"""The client's side of the WebSocket protocol as a state machine: one table of states and inputs.

The machine has no clock, never sleeps and calls nothing back. `step` takes an input, the time, and a random
number for jitter. It returns the effects to perform, in order. Events come last, because the user may stop at
an event. The next step must come no later than `deadline`.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from math import inf
from typing import Any

from livebalance.client import effects
from livebalance.client.account import Account
from livebalance.client.account_set import AccountSet, SetChannels
from livebalance.client.backoff import delay_after_close
from livebalance.client.channels import ChannelFrame, Channels
from livebalance.client.event import Connected, Disconnected, Event
from livebalance.client.throttle import Throttle
from livebalance.wire.close import CloseCode, should_reconnect
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import (
    AuthExpiring,
    Error,
    Goaway,
    Heartbeat,
    Rate,
    Refresh,
    ServerFrame,
    SetDelta,
    SetSnapshot,
    Status,
    Unsubscribed,
    Welcome,
    decode_server_frame,
    encode_frame,
)
from livebalance.wire.identity import AccountId, Position

WELCOME_TIMEOUT = 10.0  # seconds from the start of a connection attempt to `welcome`
SILENT_HEARTBEATS = 2.5  # heartbeats without any frame until the connection counts as lost
MAX_RATE = 1000.0  # updates per second
# Connections that were lost with the network count for their user until the gateway notices it.
LOST_CONNECTIONS_SECONDS = 30.0
STABLE_SECONDS = 5.0  # after which a connection counts as a success
ABNORMAL_CLOSURE = 1006  # code of a connection that ended without a close frame (RFC 6455 §7.4.1)


class State(Enum):
    """State of the connection."""

    WAITING = auto()  # not connected; the next attempt is due at the deadline
    CONNECTING = auto()  # until `welcome`
    OPEN = auto()
    STOPPED = auto()


class Session:
    """A connection that reconnects, to the given addresses in turn, and the accounts followed through it.

    Raises:
        ValueError: `urls` is empty.
    """

    def __init__(self, urls: Sequence[str], *, patches: bool = False) -> None:
        if not urls:
            raise ValueError("a session needs an address")
        self.state = State.WAITING
        self._channels = Channels(patches=patches)
        self._sets = SetChannels()
        self._urls = tuple(urls)
        self._url_index = -1
        self._failures = 0  # connections lost, except by a goodbye, since one was stable
        self._stable_at = inf
        self._was_open = False
        self._timeout = 0.0  # WAITING: the next attempt; CONNECTING: give up; OPEN: silent for too long
        self._max_silence = inf  # seconds without a frame
        self._goaway_at = inf
        self._rate: float | None = None  # that the user wants
        self._rate_sent: float | None = None  # to this connection
        self._throttle = Throttle()  # of this connection

    @property
    def deadline(self) -> float:
        """Time of the next step if no other input arrives before, in seconds of the clock of `step`."""
        if self.state is State.OPEN:
            due = min(self._channels.due, self._sets.due) if self._rate == self._rate_sent else 0.0
            return min(self._timeout, self._goaway_at, max(due, self._throttle.ready_at))
        return self._timeout

    def follow(self, account: AccountId, since: Position | None = None) -> None:
        """Subscribes to an account at the next step.

        With `since` the state begins there, without balance and transfers, and misses no revision after it.
        """
        self._channels.follow(account, since)

    def unfollow(self, account: AccountId) -> None:
        """Unsubscribes from an account at the next step. The account causes no further events."""
        self._channels.unfollow(account)

    def follow_set(self, channel: str) -> None:
        """Subscribes to a set of accounts at the next step.

        Raises:
            DecodeError: `channel` is not the name of a set.
        """
        self._sets.follow(channel)

    def unfollow_set(self, channel: str) -> None:
        """Unsubscribes from a set at the next step. The set causes no further events."""
        self._sets.unfollow(channel)

    def set_state(self, channel: str) -> AccountSet | None:
        """Returns a set at its last position, or None before the first."""
        return self._sets.state(channel)

    def rate(self, max_per_second: float | None) -> None:
        """Sets the maximum updates per second (None: no limit). It also applies after a reconnect.

        Raises:
            ValueError: The rate is not above 0 and at most 1000.
        """
        if max_per_second is not None and not 0 < max_per_second <= MAX_RATE:
            raise ValueError(f"a rate is above 0 and at most {MAX_RATE:g}, not {max_per_second}")
        self._rate = max_per_second

    def account_state(self, account: AccountId) -> Account | None:
        """Returns the state of an account, or None before its first frame."""
        return self._channels.account_state(account)

    def step(self, input_: effects.Input, now: float, jitter: float) -> list[effects.Effect]:
        """Handles an input and returns the effects to perform, in order.

        Args:
            input_: What happened.
            now: Seconds on a clock that never goes back.
            jitter: A random number in [0, 1).
        """
        return _TABLE[self.state, type(input_)](self, input_, now, jitter)

    # --- cells of the table

    def _ignore(self, _: Any, now: float, jitter: float) -> list[effects.Effect]:
        return []

    def _stop(self, _: effects.Stop, now: float, jitter: float) -> list[effects.Effect]:
        connected = self.state in (State.CONNECTING, State.OPEN)
        self.state, self._timeout = State.STOPPED, inf
        return [effects.CloseSocket(1000)] if connected else []

    def _connect(self, _: effects.Tick, now: float, jitter: float) -> list[effects.Effect]:
        if now < self._timeout:
            return []
        self._url_index = (self._url_index + 1) % len(self._urls)
        self.state, self._timeout = State.CONNECTING, now + WELCOME_TIMEOUT
        return [effects.OpenSocket(self._urls[self._url_index])]

    def _tick_connecting(self, _: effects.Tick, now: float, jitter: float) -> list[effects.Effect]:
        return self._abort("no welcome", now, jitter) if now >= self._timeout else []

    def _receive_connecting(
        self, received: effects.Received, now: float, jitter: float
    ) -> list[effects.Effect]:
        try:
            frame = decode_server_frame(received.text)
        except DecodeError:
            return self._protocol_error(now, jitter)
        return self._open(frame, now, jitter) if isinstance(frame, Welcome) else []

    def _receive_open(self, received: effects.Received, now: float, jitter: float) -> list[effects.Effect]:
        self._timeout = now + self._max_silence
        if now >= self._stable_at:
            self._failures = 0
        try:
            frame = decode_server_frame(received.text)
            events = _FRAMES[type(frame)](self, frame, now, jitter)
        except DecodeError:
            return self._protocol_error(now, jitter)
        token: list[effects.Effect] = [effects.FetchToken()] if isinstance(frame, AuthExpiring) else []
        return [*self._requests(now, jitter), *token, *map(effects.Emit, events)]

    def _refresh(self, fetched: effects.TokenFetched, now: float, jitter: float) -> list[effects.Effect]:
        return [effects.Send(encode_frame(Refresh("refresh", fetched.token)))]

    def _connection_lost(
        self, lost: effects.ConnectionLost, now: float, jitter: float
    ) -> list[effects.Effect]:
        return self._disconnected(
            lost.code, lost.reason, delay_after_close(*lost, self._failures, jitter), now
        )

    def _tick_open(self, _: effects.Tick, now: float, jitter: float) -> list[effects.Effect]:
        if now >= self._timeout:
            return self._abort("silent", now, jitter)
        if now >= self._goaway_at:
            disconnected = self._disconnected(CloseCode.GOODBYE, "reconnecting after goaway", 0.0, now)
            return [effects.CloseSocket(1000), *disconnected]
        return self._requests(now, jitter)

    # --- the life of a connection

    def _open(self, frame: Welcome, now: float, jitter: float) -> list[effects.Effect]:
        self._max_silence = SILENT_HEARTBEATS * frame.heartbeat_ms / 1000
        self.state, self._timeout, self._goaway_at = State.OPEN, now + self._max_silence, inf
        self._was_open, self._rate_sent, self._stable_at = True, None, now + STABLE_SECONDS
        self._throttle = Throttle(frame.limits.messages_per_second)
        url = self._urls[self._url_index]
        connected = Connected(url, frame.gateway, frame.session, frame.epoch, frame.limits)
        return [*self._requests(now, jitter), effects.Emit(connected)]

    def _requests(self, now: float, jitter: float) -> list[effects.Effect]:
        requests: list[effects.Effect] = []
        if now < self._throttle.ready_at:
            return requests
        if self._rate != self._rate_sent:
            self._rate_sent = self._rate
            requests = [effects.Send(encode_frame(Rate("rate", self._rate)))]
        frames = self._channels.requests(now, jitter) if now >= self._channels.due else []
        if now >= self._sets.due:
            frames = [*frames, *self._sets.requests(now, jitter)]
        requests += [effects.Send(encode_frame(frame)) for frame in frames]
        self._throttle.sent(len(requests), now)
        return requests

    def _abort(self, reason: str, now: float, jitter: float) -> list[effects.Effect]:
        delay = delay_after_close(ABNORMAL_CLOSURE, reason, self._failures, jitter)
        disconnected = self._disconnected(ABNORMAL_CLOSURE, reason, delay, now)
        return [effects.CloseSocket(ABNORMAL_CLOSURE, abort=True), *disconnected]

    def _protocol_error(self, now: float, jitter: float) -> list[effects.Effect]:
        """Closes the connection after an invalid frame. The next gateway may be of another version."""
        reason = "not a frame of this protocol"
        delay = delay_after_close(ABNORMAL_CLOSURE, reason, self._failures, jitter)
        disconnected = self._disconnected(ABNORMAL_CLOSURE, reason, delay, now)
        return [effects.CloseSocket(CloseCode.BROKEN_PROTOCOL), *disconnected]

    def _disconnected(self, code: int, reason: str, delay: float, now: float) -> list[effects.Effect]:
        self._channels.resubscribe_all()
        self._sets.resubscribe_all()
        if code == CloseCode.TOO_MANY_CONNECTIONS and self._was_open:
            delay += LOST_CONNECTIONS_SECONDS
        elif not should_reconnect(code):
            self.state, self._timeout = State.STOPPED, inf
            return [effects.Emit(Disconnected(code, reason, None))]
        self._failures += code != CloseCode.GOODBYE
        self.state, self._timeout = State.WAITING, now + delay
        return [effects.Emit(Disconnected(code, reason, delay))]

    # --- one method per kind of frame

    def _skip(self, _: ServerFrame | None, now: float, jitter: float) -> list[Event]:
        return []

    def _pass_on(self, frame: Heartbeat | Status | AuthExpiring, now: float, jitter: float) -> list[Event]:
        return [frame]

    def _goaway(self, frame: Goaway, now: float, jitter: float) -> list[Event]:
        self._goaway_at = now + jitter * frame.reconnect_within_ms / 1000
        return [frame]

    def _channel(self, frame: ChannelFrame, now: float, jitter: float) -> list[Event]:
        if isinstance(frame, Error | Unsubscribed) and self._sets.concerns(frame):
            return [*self._sets.receive(frame, now, jitter)]
        return self._channels.receive(frame, now, jitter)

    def _set(self, frame: SetSnapshot | SetDelta, now: float, jitter: float) -> list[Event]:
        return [*self._sets.receive(frame, now, jitter)]


_Cell = Callable[[Session, Any, float, float], list[effects.Effect]]

_TABLE: dict[tuple[State, type[effects.Input]], _Cell] = {
    (State.WAITING, effects.Tick): Session._connect,
    (State.WAITING, effects.Received): Session._ignore,  # from the previous connection
    (State.WAITING, effects.ConnectionLost): Session._ignore,
    (State.WAITING, effects.TokenFetched): Session._ignore,
    (State.WAITING, effects.Stop): Session._stop,
    (State.CONNECTING, effects.Tick): Session._tick_connecting,
    (State.CONNECTING, effects.Received): Session._receive_connecting,
    (State.CONNECTING, effects.ConnectionLost): Session._connection_lost,
    (State.CONNECTING, effects.TokenFetched): Session._ignore,  # the new connection fetches its own token
    (State.CONNECTING, effects.Stop): Session._stop,
    (State.OPEN, effects.Tick): Session._tick_open,
    (State.OPEN, effects.Received): Session._receive_open,
    (State.OPEN, effects.ConnectionLost): Session._connection_lost,
    (State.OPEN, effects.TokenFetched): Session._refresh,
    (State.OPEN, effects.Stop): Session._stop,
    (State.STOPPED, effects.Tick): Session._ignore,
    (State.STOPPED, effects.Received): Session._ignore,
    (State.STOPPED, effects.ConnectionLost): Session._ignore,
    (State.STOPPED, effects.TokenFetched): Session._ignore,
    (State.STOPPED, effects.Stop): Session._ignore,
}

_FRAMES: dict[type[ServerFrame] | type[None], Callable[[Session, Any, float, float], list[Event]]] = {
    Welcome: Session._skip,  # expected only once
    SetSnapshot: Session._set,
    SetDelta: Session._set,
    Heartbeat: Session._pass_on,
    Status: Session._pass_on,
    AuthExpiring: Session._pass_on,
    Goaway: Session._goaway,
    **dict.fromkeys(ChannelFrame.__args__, Session._channel),
    type(None): Session._skip,  # a type of a later version
}
