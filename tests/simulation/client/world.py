"""The client's machine in a world that a test steers: a gateway, a wire between, time, and faults of each."""

from collections import deque
from dataclasses import dataclass, field

from livebalance.client.account import Account
from livebalance.client.effects import (
    CloseSocket,
    ConnectionLost,
    Effect,
    Emit,
    Input,
    OpenSocket,
    Received,
    Send,
    Tick,
)
from livebalance.client.event import Changed, Disconnected, Event
from livebalance.client.session import ABNORMAL_CLOSURE, Session, State
from livebalance.wire.frame import (
    Error,
    Heartbeat,
    Limits,
    Ok,
    ServerFrame,
    Subscribe,
    Unsubscribe,
    Welcome,
    decode_client_frame,
    encode_frame,
    parse_position,
)
from livebalance.wire.identity import AccountId, Revision, channel_account
from tests.simulation.truth import RESUME_MAX, WHEN, Truth

HEARTBEAT = 10.0  # seconds
LIMITS = Limits(16384, 128, RESUME_MAX)


@dataclass
class Socket:
    """One connection at the gateway: how far each account was sent, and the frames under way."""

    sent: dict[AccountId, Revision] = field(default_factory=dict)
    wire: deque[ServerFrame] = field(default_factory=deque)
    beat_at: float = 0.0
    half_open: bool = False  # nothing arrives any more, on either side, and nobody is told


class World:
    """`events` is everything the client told; `log` the frames that it said had changed an account."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.session = Session(["ws://one/ws", "ws://two/ws"])
        self.now = 0.0
        self.chance = 0.5
        self.socket: Socket | None = None
        self.refusing = False  # connections fail
        self.unavailable = False  # the gateway cannot ask the truth
        self.ok_first = False
        self.events: list[Event] = []
        self.step(Tick())

    # --- the client

    def step(self, what: Input) -> None:
        for effect in self.session.step(what, self.now, self.chance):
            self._perform(effect)
        assert self.session.deadline >= self.now or self.session.state is not State.STOPPED

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Emit(event):
                self.events.append(event)
            case OpenSocket(_):
                self._connect()
            case CloseSocket():
                self.socket = None
            case Send(text) if self.socket and not self.socket.half_open:
                self._answer(self.socket, text)

    def _connect(self) -> None:
        if self.refusing:
            self.step(ConnectionLost(ABNORMAL_CLOSURE, "refused"))
            return
        self.socket = Socket(beat_at=self.now + HEARTBEAT)
        self.socket.wire.append(
            Welcome("s", "gateway-1", "1", [], self.truth.epoch, WHEN, int(HEARTBEAT * 1000), LIMITS)
        )

    def shown(self, account: AccountId) -> Account | None:
        return self.session.account_state(account)

    @property
    def log(self) -> list[ServerFrame]:
        return [event.frame for event in self.events if isinstance(event, Changed)]

    @property
    def stopped(self) -> bool:
        return any(isinstance(event, Disconnected) and event.retry_in is None for event in self.events)

    # --- the gateway

    def _answer(self, socket: Socket, text: bytes) -> None:
        frame = decode_client_frame(text)
        if isinstance(frame, Subscribe):
            answers = [answer for channel in frame.channels for answer in self._join(socket, channel)]
            ok: list[ServerFrame] = [] if self.unavailable else [Ok(frame.id)]
            socket.wire.extend([*ok, *answers] if self.ok_first else [*answers, *ok])
        elif isinstance(frame, Unsubscribe):
            for name in frame.channels:
                socket.sent.pop(channel_account(name), None)
            socket.wire.append(Ok(frame.id))

    def _join(self, socket: Socket, channel: object) -> list[ServerFrame]:
        if self.unavailable:
            return [Error("unavailable", "later", True, channel=channel.channel, retry_after_ms=500)]  # type: ignore[attr-defined]
        account = channel_account(channel.channel)  # type: ignore[attr-defined]
        socket.sent[account] = self.truth.now(account).revision
        return [*self.truth.answer(account, parse_position(channel.position))]  # type: ignore[attr-defined]

    def publish(self, account: AccountId) -> None:
        """One delta to wherever the account is now, however many changes that are."""
        if self.socket and account in self.socket.sent:
            from_, to = self.socket.sent[account], self.truth.now(account).revision
            if from_ < to:
                self.socket.wire.append(self.truth.delta(account, from_))
            self.socket.sent[account] = to

    def rebuild(self, alike: bool) -> None:
        """A new epoch: a right gateway sends a snapshot to everyone who follows."""
        self.truth.rebuild(alike)
        for account in self.socket.sent if self.socket else []:
            assert self.socket
            self.socket.sent[account] = self.truth.now(account).revision
            self.socket.wire.append(self.truth.snapshot(account, "epoch"))

    # --- the wire

    def deliver(self, count: int) -> None:
        while count and self.socket and self.socket.wire and not self.socket.half_open:
            count -= 1
            self.step(Received(encode_frame(self.socket.wire.popleft())))

    def cut(self, code: int = ABNORMAL_CLOSURE, reason: str = "") -> None:
        if self.socket:
            self.socket = None
            self.step(ConnectionLost(code, reason))

    # --- time

    def sleep(self, seconds: float) -> None:
        """Let time pass from one thing that is due to the next."""
        until = self.now + seconds
        while self._next_due <= until:
            self._wait()
        self.now = until

    def _wait(self) -> None:
        self.now = max(self.now, self._next_due)
        if self.socket and self._beat_at <= self.now:
            self.socket.beat_at = self.now + HEARTBEAT
            self.socket.wire.append(Heartbeat(WHEN, None))
        self.step(Tick())

    @property
    def _next_due(self) -> float:
        return min(self.session.deadline, self._beat_at)

    @property
    def _beat_at(self) -> float:
        return self.socket.beat_at if self.socket and not self.socket.half_open else float("inf")

    def heal(self, seconds: float) -> None:
        """No more faults: everything under way arrives, as time goes on."""
        self.refusing = self.unavailable = False
        until = self.now + seconds
        self.deliver(10_000)
        while self._next_due <= until:
            self._wait()
            self.deliver(10_000)
        self.now = until
