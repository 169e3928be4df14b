"""The client's side of the socket as a machine: states x inputs, one table.

It never sleeps and never calls back. What happened goes in, with the time and a chance in [0, 1); what is to
be done comes out, events last: who waits on one may go away. Whoever drives it steps it again no later than
`deadline`.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from math import inf
from typing import Any

from livebalance.client import effects
from livebalance.client.account import Account
from livebalance.client.backoff import after_close
from livebalance.client.channels import ChannelFrame, Channels
from livebalance.client.event import Connected, Disconnected, Event
from livebalance.wire.close import CloseCode, comes_back
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import (
    AuthExpiring,
    Goaway,
    Heartbeat,
    Ok,
    Rate,
    Refresh,
    ServerFrame,
    Status,
    Welcome,
    decode_server,
    encode,
)
from livebalance.wire.identity import AccountId, Position

WELCOME_WITHIN = 10.0  # seconds from the first try of a connection to its welcome
DEAD_AFTER = 2.5  # heartbeats without any frame
BROKEN = 1006  # what a connection that broke without a close is said to have closed with


class State(Enum):
    WAITING = auto()  # no connection; the next is tried at the deadline
    CONNECTING = auto()  # until the welcome
    OPEN = auto()
    STOPPED = auto()


class Session:
    """A connection that comes back, to the given addresses in turn, and the accounts followed through it."""

    def __init__(self, urls: Sequence[str]) -> None:
        if not urls:
            raise ValueError("a session needs an address")
        self.state = State.WAITING
        self._channels = Channels()
        self._urls = tuple(urls)
        self._url = -1  # which address is tried
        self._failures = 0  # connections lost since one was of use
        self._until = 0.0  # WAITING: the next try; CONNECTING: given up; OPEN: dead of silence
        self._silence = inf  # seconds without a frame that mean death
        self._leave_at = inf
        self._rate: float | None = None  # as wanted
        self._rate_told: float | None = None  # to this connection

    @property
    def deadline(self) -> float:
        if self.state is State.OPEN:
            due = self._channels.due if self._rate == self._rate_told else 0.0
            return min(self._until, self._leave_at, due)
        return self._until

    def follow(self, account: AccountId, since: Position | None = None) -> None:
        """Asked for at the next step. With `since` what is shown begins there, empty, and misses nothing."""
        self._channels.follow(account, since)

    def unfollow(self, account: AccountId) -> None:
        """Told to the gateway at the next step; nothing of the account is emitted any more."""
        self._channels.unfollow(account)

    def rate(self, max_per_second: float | None) -> None:
        """How often data may come, told to the gateway at the next step and to each that follows it."""
        self._rate = max_per_second

    def shown(self, account: AccountId) -> Account | None:
        return self._channels.shown(account)

    def step(self, what: effects.Input, now: float, chance: float) -> list[effects.Effect]:
        """`now` in seconds on any clock that only grows."""
        return _TABLE[self.state, type(what)](self, what, now, chance)

    # --- one method for each kind of cell in the table

    def _ignore(self, _: Any, now: float, chance: float) -> list[effects.Effect]:
        return []

    def _stop(self, _: effects.Stop, now: float, chance: float) -> list[effects.Effect]:
        connected = self.state in (State.CONNECTING, State.OPEN)
        self.state, self._until = State.STOPPED, inf
        return [effects.CloseSocket(1000)] if connected else []

    def _connect(self, _: effects.Tick, now: float, chance: float) -> list[effects.Effect]:
        if now < self._until:
            return []
        self._url = (self._url + 1) % len(self._urls)
        self.state, self._until = State.CONNECTING, now + WELCOME_WITHIN
        return [effects.OpenSocket(self._urls[self._url])]

    def _give_up(self, _: effects.Tick, now: float, chance: float) -> list[effects.Effect]:
        return self._dead("no welcome", now, chance) if now >= self._until else []

    def _greet(self, what: effects.Received, now: float, chance: float) -> list[effects.Effect]:
        try:
            frame = decode_server(what.text)
        except DecodeError:
            return self._nonsense(now, chance)
        return self._open(frame, now, chance) if isinstance(frame, Welcome) else []

    def _hear(self, what: effects.Received, now: float, chance: float) -> list[effects.Effect]:
        self._until = now + self._silence
        try:
            frame = decode_server(what.text)
            events = _FRAMES[type(frame)](self, frame, now, chance)
        except DecodeError:
            return self._nonsense(now, chance)
        renew: list[effects.Effect] = [effects.FetchToken()] if isinstance(frame, AuthExpiring) else []
        return [*self._questions(now, chance), *renew, *map(effects.Emit, events)]

    def _refresh(self, what: effects.TokenFetched, now: float, chance: float) -> list[effects.Effect]:
        return [effects.Send(encode(Refresh("refresh", what.token)))]

    def _lose(self, what: effects.ConnectionLost, now: float, chance: float) -> list[effects.Effect]:
        return self._gone(what.code, what.reason, after_close(*what, self._failures, chance), now)

    def _time(self, _: effects.Tick, now: float, chance: float) -> list[effects.Effect]:
        if now >= self._until:
            return self._dead("silent", now, chance)
        if now >= self._leave_at:
            return [effects.CloseSocket(1000), *self._gone(CloseCode.GOODBYE, "left in time", 0.0, now)]
        return self._questions(now, chance)

    # --- the connection's life

    def _open(self, frame: Welcome, now: float, chance: float) -> list[effects.Effect]:
        self._silence = DEAD_AFTER * frame.heartbeat_ms / 1000
        self.state, self._until, self._leave_at = State.OPEN, now + self._silence, inf
        self._rate_told = None
        hello = Connected(self._urls[self._url], frame.gateway, frame.session, frame.epoch, frame.limits)
        return [*self._questions(now, chance), effects.Emit(hello)]

    def _questions(self, now: float, chance: float) -> list[effects.Effect]:
        asked: list[effects.Effect] = []
        if self._rate != self._rate_told:
            self._rate_told = self._rate
            asked = [effects.Send(encode(Rate("rate", self._rate)))]
        if now < self._channels.due:
            return asked
        return asked + [effects.Send(encode(frame)) for frame in self._channels.questions(now, chance)]

    def _dead(self, why: str, now: float, chance: float) -> list[effects.Effect]:
        pause = after_close(BROKEN, why, self._failures, chance)
        return [effects.CloseSocket(BROKEN, abort=True), *self._gone(BROKEN, why, pause, now)]

    def _nonsense(self, now: float, chance: float) -> list[effects.Effect]:
        """What this gateway says cannot be understood: perhaps what the next one says can be."""
        why = "not a frame of this protocol"
        pause = after_close(BROKEN, why, self._failures, chance)
        return [effects.CloseSocket(CloseCode.BROKEN_PROTOCOL), *self._gone(BROKEN, why, pause, now)]

    def _gone(self, code: int, reason: str, pause: float, now: float) -> list[effects.Effect]:
        self._channels.restart()
        if not comes_back(code):
            self.state, self._until = State.STOPPED, inf
            return [effects.Emit(Disconnected(code, reason, None))]
        self._failures += 1
        self.state, self._until = State.WAITING, now + pause
        return [effects.Emit(Disconnected(code, reason, pause))]

    # --- one method for each kind of frame

    def _skip(self, _: ServerFrame | None, now: float, chance: float) -> list[Event]:
        return []

    def _tell(self, frame: Status | AuthExpiring, now: float, chance: float) -> list[Event]:
        return [frame]

    def _beat(self, frame: Heartbeat, now: float, chance: float) -> list[Event]:
        self._failures = 0
        return [frame]

    def _leave(self, frame: Goaway, now: float, chance: float) -> list[Event]:
        self._leave_at = now + chance * frame.reconnect_within_ms / 1000
        return [frame]

    def _channel(self, frame: ChannelFrame, now: float, chance: float) -> list[Event]:
        if isinstance(frame, Ok):
            self._failures = 0
        return self._channels.hear(frame, now, chance)


_Cell = Callable[[Session, Any, float, float], list[effects.Effect]]

_TABLE: dict[tuple[State, type[effects.Input]], _Cell] = {
    (State.WAITING, effects.Tick): Session._connect,
    (State.WAITING, effects.Received): Session._ignore,  # of the connection before
    (State.WAITING, effects.ConnectionLost): Session._ignore,
    (State.WAITING, effects.TokenFetched): Session._ignore,
    (State.WAITING, effects.Stop): Session._stop,
    (State.CONNECTING, effects.Tick): Session._give_up,
    (State.CONNECTING, effects.Received): Session._greet,
    (State.CONNECTING, effects.ConnectionLost): Session._lose,
    (State.CONNECTING, effects.TokenFetched): Session._ignore,  # it was made with that one
    (State.CONNECTING, effects.Stop): Session._stop,
    (State.OPEN, effects.Tick): Session._time,
    (State.OPEN, effects.Received): Session._hear,
    (State.OPEN, effects.ConnectionLost): Session._lose,
    (State.OPEN, effects.TokenFetched): Session._refresh,
    (State.OPEN, effects.Stop): Session._stop,
    (State.STOPPED, effects.Tick): Session._ignore,
    (State.STOPPED, effects.Received): Session._ignore,
    (State.STOPPED, effects.ConnectionLost): Session._ignore,
    (State.STOPPED, effects.TokenFetched): Session._ignore,
    (State.STOPPED, effects.Stop): Session._ignore,
}

_FRAMES: dict[type[ServerFrame] | type[None], Callable[[Session, Any, float, float], list[Event]]] = {
    Welcome: Session._skip,  # said once
    Heartbeat: Session._beat,
    Status: Session._tell,
    AuthExpiring: Session._tell,
    Goaway: Session._leave,
    **dict.fromkeys(ChannelFrame.__args__, Session._channel),
    type(None): Session._skip,  # a type of a later version
}
