"""A simulated world of the client's state machine: a gateway, the wire and time. A test takes each step."""

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
from livebalance.gateway.live.patches import make_patch
from livebalance.wire.frame import (
    PATCHES,
    Error,
    Heartbeat,
    Limits,
    Ok,
    ServerFrame,
    Subscribe,
    Unsubscribe,
    Welcome,
    decode_client_frame,
    decode_server_frame,
    encode_frame,
    parse_position,
)
from livebalance.wire.identity import AccountId, Revision, channel_account
from tests.simulation.projection import RECOVERY_MAX_REVISIONS, WHEN, Projection

HEARTBEAT = 10.0  # seconds
LIMITS = Limits(16384, 128, RECOVERY_MAX_REVISIONS)


@dataclass
class Connection:
    """A connection at the gateway: the revision that was sent of each account, and frames under way."""

    sent: dict[AccountId, Revision] = field(default_factory=dict)
    deltas: dict[AccountId, bytes] = field(default_factory=dict)  # the last, for patches
    wire: deque[ServerFrame] = field(default_factory=deque)
    heartbeat_at: float = 0.0
    patches: bool = False  # the client has asked for them
    is_half_open: bool = False  # both sides consider it open, but nothing arrives


class World:
    """`events` are those that the client emitted. Times are in seconds."""

    def __init__(self, projection: Projection, *, patches: bool) -> None:
        self.projection = projection
        self.session = Session(["ws://one/ws", "ws://two/ws"], patches=patches)
        self.now = 0.0
        self.jitter = 0.5
        self.connection: Connection | None = None
        self.rejects_connections = False
        self.unavailable = False  # Postgres, for the gateway
        self.ok_first = False  # whether an `ok` precedes the frames of the accounts
        self.events: list[Event] = []
        self.step(Tick())

    # --- the client

    def step(self, event: Input) -> None:
        for effect in self.session.step(event, self.now, self.jitter):
            self._perform(effect)
        assert self.session.deadline >= self.now or self.session.state is not State.STOPPED

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Emit(event):
                self.events.append(event)
            case OpenSocket(_):
                self._connect()
            case CloseSocket():
                self.connection = None
            case Send(text) if self.connection and not self.connection.is_half_open:
                self._answer(self.connection, text)

    def _connect(self) -> None:
        if self.rejects_connections:
            self.step(ConnectionLost(ABNORMAL_CLOSURE, "refused"))
            return
        self.connection = Connection(heartbeat_at=self.now + HEARTBEAT)
        self.connection.wire.append(
            Welcome("s", "gateway-1", "1", [], self.projection.epoch, WHEN, int(HEARTBEAT * 1000), LIMITS)
        )

    def shown(self, account: AccountId) -> Account | None:
        return self.session.account_state(account)

    @property
    def reported_frames(self) -> list[ServerFrame]:
        return [event.frame for event in self.events if isinstance(event, Changed)]

    @property
    def has_stopped(self) -> bool:
        return any(isinstance(event, Disconnected) and event.retry_in is None for event in self.events)

    # --- the gateway

    def _answer(self, connection: Connection, text: bytes) -> None:
        frame = decode_client_frame(text)
        if isinstance(frame, Subscribe):
            answers = [
                answer for channel in frame.channels for answer in self._subscribe(connection, channel)
            ]
            connection.patches = PATCHES in frame.features
            ok: list[ServerFrame] = [] if self.unavailable else [Ok(frame.id)]
            connection.wire.extend([*ok, *answers] if self.ok_first else [*answers, *ok])
        elif isinstance(frame, Unsubscribe):
            for name in frame.channels:
                connection.sent.pop(channel_account(name), None)
            connection.wire.append(Ok(frame.id))

    def _subscribe(self, connection: Connection, channel: object) -> list[ServerFrame]:
        if self.unavailable:
            return [Error("unavailable", "later", True, channel=channel.channel, retry_after_ms=500)]  # type: ignore[attr-defined]
        account = channel_account(channel.channel)  # type: ignore[attr-defined]
        connection.sent[account] = self.projection.current(account).revision
        connection.deltas.pop(account, None)
        return [*self.projection.recover(account, parse_position(channel.position))]  # type: ignore[attr-defined]

    def publish(self, account: AccountId) -> None:
        """Sends the changes since the last delta as a single delta."""
        if self.connection and account in self.connection.sent:
            from_, to = self.connection.sent[account], self.projection.current(account).revision
            if from_ < to:
                self.connection.wire.append(self._delta(self.connection, account, from_))
            self.connection.sent[account] = to

    def _delta(self, connection: Connection, account: AccountId, from_: Revision) -> ServerFrame:
        delta = self.projection.delta(account, from_)
        last, text = connection.deltas.get(account), encode_frame(delta)
        connection.deltas[account] = text
        patch = make_patch(last, text) if last else None
        frame = decode_server_frame(patch) if patch and connection.patches else delta
        assert frame
        return frame

    def rebuild(self, same_revisions: bool) -> None:
        """Starts a new epoch. A correct gateway sends a snapshot to every subscriber."""
        self.projection.rebuild(same_revisions)
        for account in self.connection.sent if self.connection else []:
            assert self.connection
            self.connection.sent[account] = self.projection.current(account).revision
            self.connection.deltas.pop(account, None)
            self.connection.wire.append(self.projection.snapshot(account, "epoch"))

    # --- the wire

    def deliver(self, count: int) -> None:
        while count and self.connection and self.connection.wire and not self.connection.is_half_open:
            count -= 1
            self.step(Received(encode_frame(self.connection.wire.popleft())))

    def close(self, code: int = ABNORMAL_CLOSURE, reason: str = "") -> None:
        if self.connection:
            self.connection = None
            self.step(ConnectionLost(code, reason))

    # --- time

    def sleep(self, seconds: float) -> None:
        """Lets time pass, from due event to due event."""
        until = self.now + seconds
        while self._next_due <= until:
            self._wait()
        self.now = until

    def _wait(self) -> None:
        self.now = max(self.now, self._next_due)
        if self.connection and self._heartbeat_at <= self.now:
            self.connection.heartbeat_at = self.now + HEARTBEAT
            self.connection.wire.append(Heartbeat(WHEN, None))
        self.step(Tick())

    @property
    def _next_due(self) -> float:
        return min(self.session.deadline, self._heartbeat_at)

    @property
    def _heartbeat_at(self) -> float:
        return (
            self.connection.heartbeat_at
            if self.connection and not self.connection.is_half_open
            else float("inf")
        )

    def heal(self, seconds: float) -> None:
        """Ends the faults: everything under way arrives while time passes."""
        self.rejects_connections = self.unavailable = False
        until = self.now + seconds
        self.deliver(10_000)
        while self._next_due <= until:
            self._wait()
            self.deliver(10_000)
        self.now = until
