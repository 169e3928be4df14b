"""The gateway's shell: Redis, Postgres, clients and time around the hub and the sessions.

The order of the steps is that of `livebalance.gateway.relay` and the packages beside it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import count

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import EVERYTHING, Rights
from livebalance.gateway.live.effects import AccountRead
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session, SessionLimits
from livebalance.gateway.live.sessions import SessionConfig, Sessions
from livebalance.gateway.live.status import PipelineStatus
from livebalance.gateway.postgres.read_queue import ReadQueue
from livebalance.gateway.redis.delta_decoder import DeltaDecoder
from livebalance.gateway.redis.pending import PendingSubscriptions
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState
from livebalance.wire.close import CloseCode
from livebalance.wire.delta import redis_account_channel
from livebalance.wire.frame import Limits
from livebalance.wire.identity import AccountId, Position
from livebalance.wire.timestamp import Millis
from tests.simulation.world.process import IDLE, Process, Steps
from tests.simulation.world.projector import PREFIX
from tests.simulation.world.servers.postgres import LIMITS, UnavailableError
from tests.simulation.world.servers.redis import Connection

QUEUE_BYTES = 1500  # room for a few frames
HISTORY_BYTES = 4000
HEARTBEAT_SECONDS = 2.0
TICK_SECONDS = 0.25
AUDIT_SECONDS = 5.0
PROBE_SECONDS = 5.0
REVOCATION_SECONDS = 2.0
CONFIG = SessionConfig(
    "gateway",
    "0",
    int(HEARTBEAT_SECONDS * 1000),
    Limits(16384, 128, LIMITS.max_revisions),
    QUEUE_BYTES,
    session_limits=SessionLimits(*[1e9] * 4),
    max_connections_per_user=99,
)
NEVER = Millis(3_000_000_000_000)


class Socket:
    """A connection of a client. Each side closes it, and then the other side reads the rest and the end."""

    __slots__ = (
        "_wake",
        "asked_twice",
        "client",
        "close_code",
        "expires",
        "is_tampered",
        "loses_next",
        "requested",
        "session",
        "to_client",
        "to_gateway",
    )

    def __init__(self, client: Process, gateway: Process) -> None:
        self._wake = client.wake, gateway.wake
        self.client = client
        self.expires = NEVER  # on the wall clock
        self.session: Session | None = None  # None: the gateway has not accepted it
        self.to_client = deque[bytes]()
        self.to_gateway = deque[bytes]()
        self.close_code: int | None = None
        self.is_tampered = False  # a fault changed what is under way
        self.loses_next = False  # delta
        self.requested = set[str]()  # channels
        self.asked_twice = False  # for the same channel

    def close(self, code: int) -> None:
        self.close_code = code
        for wake in self._wake:
            wake()

    def send_to_client(self, frames: Iterable[bytes]) -> None:
        if self.close_code is not None:
            return  # a connection that was lost delivers nothing that follows
        for frame in frames:
            if self.loses_next and frame.startswith(b'{"type":"delta"'):
                self.loses_next = False
            else:
                self.to_client.append(frame)
        self._wake[0]()

    def send_to_gateway(self, text: bytes) -> None:
        self.to_gateway.append(text)
        self._wake[1]()


class Gateway(Process):
    """A gateway, which forgets everything when it is killed."""

    sockets: dict[Session, Socket]

    def create(self) -> Sequence[Steps]:
        world = self.world
        self.hub = Hub(LIMITS.max_revisions, HISTORY_BYTES)
        self.sessions = Sessions(CONFIG, Revocations(), self.hub)
        self.status = PipelineStatus()
        self.queue = ReadQueue(1_000_000, 1000)
        self.sockets = {}
        self.backlog: list[Socket] = []  # connected, not accepted
        self.redis = world.redis.connect(self.wake)
        self.pending = PendingSubscriptions()
        self.decoder = DeltaDecoder()
        self.audit_requested = True
        self.names = count()
        self.knows_revocations = False
        self.status.on_redis(True)
        return (
            self._redis(),
            self._load(),
            self._audit(),
            self._tick(),
            self._serve(),
            self._probe(),
            self._read_revocations(),
        )

    def on_killed(self) -> None:
        self.world.redis.close(self.redis)
        for socket in [*self.backlog, *self.sockets.values()]:
            socket.close(1006)

    # --- clients

    def _serve(self) -> Steps:
        while True:
            busy = bool(self.backlog) and self.knows_revocations
            while self.backlog and self.knows_revocations:
                self._accept(self.backlog.pop(0))
            for session, socket in list(self.sockets.items()):
                if socket.close_code is not None:
                    del self.sockets[session]
                    self.sessions.disconnect(session)
                    self.perform()
                elif socket.to_gateway:
                    busy = True
                    self.sessions.receive(session, socket.to_gateway.popleft(), self.world.now)
                    self.perform()
                    yield 0.0
            yield 0.0 if busy else IDLE

    def _accept(self, socket: Socket) -> None:
        now = self.world.now
        name = f"{self.name}-{next(self.names)}"
        socket.session = session = self.sessions.connect(name, "address", now)
        self.sockets[session] = socket
        self.authorize(socket, None)

    def authorize(self, socket: Socket, request: str | None, expires: Millis = NEVER) -> None:
        """Gives a client a token that was issued just now. `request`: it refreshes its token."""
        if (session := socket.session) is not None:
            wall, socket.expires = self.world.wall, expires
            rights = Rights(socket.client.name, "login", EVERYTHING, wall // 1000, expires)
            self.sessions.authorize(session, request, rights, self.world.now, wall)
            self.perform()

    def _read_revocations(self) -> Steps:
        while True:
            try:
                revocations = self.world.postgres.read_revocations()
            except UnavailableError:
                yield REVOCATION_SECONDS
                continue
            yield 0.0
            self.sessions.revoke(revocations)
            self.knows_revocations = True
            self.perform()
            self.wake()
            yield REVOCATION_SECONDS

    # --- Redis

    def _redis(self) -> Steps:
        while True:
            connection = self.redis
            if connection.is_lost:
                self._reconnect()
            elif connection.commands:
                connection.execute_command()
            elif connection.inbox:
                self._receive(connection)
            else:
                yield IDLE
                continue
            yield 0.0

    def _receive(self, connection: Connection) -> None:
        channel, message = connection.inbox.popleft()
        account = AccountId(channel.removeprefix(redis_account_channel(PREFIX, AccountId(""))))
        if message is not None:
            self.hub.on_delta(account, self.decoder.decode(account, message))
        elif self.pending.acknowledge(channel.encode()):
            self.hub.on_subscribed(account)
        self.perform()

    def _reconnect(self) -> None:
        self.world.redis.close(self.redis)
        self.redis, self.pending = self.world.redis.connect(self.wake), PendingSubscriptions()
        for account in self.hub.subscribers:
            self._send_command(account, subscribe=True)
        self.audit_requested = True  # messages that were published meanwhile are lost
        self.wake()

    def _send_command(self, account: AccountId, *, subscribe: bool) -> None:
        channel = redis_account_channel(PREFIX, account)
        self.redis.commands.append((channel, subscribe))
        self.wake()
        if subscribe:
            self.pending.add(0, [channel.encode()])

    def _probe(self) -> Steps:
        """Reconnects after Redis has not delivered two probes."""
        misses = 0
        while True:
            yield PROBE_SECONDS
            misses = misses + 1 if self.redis.is_deaf else 0
            if misses == 2:
                self.redis.is_lost = True
                self.wake()

    # --- Postgres

    def _load(self) -> Steps:
        while True:
            batch = self.queue.pop(self.world.now)
            if not isinstance(batch, list):
                yield IDLE if batch is None else batch
                continue
            yield 0.0
            try:
                answers = [(read, self._read(read)) for read in batch]
            except UnavailableError:
                yield 0.0
                for read in batch:
                    self.hub.on_read_failed(read, 1000)
                self.perform()
                yield 0.1
                continue
            yield 0.0
            for read, states in answers:
                self.hub.on_read(read, states, self.world.now)
            self.perform()
            yield 0.0

    def _read(self, read: AccountRead) -> dict[Position | None, AccountState]:
        postgres = self.world.postgres
        return {
            position: postgres.read_account(AccountQuery(read.account, position))
            for position in read.positions
        }

    def _audit(self) -> Steps:
        while True:
            self.audit_requested = False
            positions = self.hub.positions(list(self.hub.subscribers))
            yield 0.0
            try:
                finding = self.world.postgres.read_audit(positions)
            except UnavailableError:
                self.status.on_audit_failed()
                yield 1.0
                continue
            yield 0.0
            now = self.world.now
            self.hub.on_audit(positions, finding, now)
            self.status.on_audit(finding, now, self.world.wall)
            self.perform()
            until = now + AUDIT_SECONDS
            while self.world.now < until and not self.audit_requested:
                yield min(IDLE, max(0.01, until - self.world.now))

    # --- time and effects

    def _tick(self) -> Steps:
        while True:
            now, wall = self.world.now, self.world.wall
            self.hub.tick(now)
            self.sessions.tick(now, wall)
            if status := self.status.next_status(now, wall):
                self.sessions.set_status(status)
            due = self.sessions.flush_due(now)
            self.perform()
            self.sessions.flushed(due)
            self.world.oracles.after_tick(self)
            yield TICK_SECONDS

    def perform(self) -> None:
        """Performs the effects of the pure core, as the relay does."""
        effects = self.hub.drain_effects()
        for account, subscribe in effects.redis_subscriptions.items():
            self._send_command(account, subscribe=subscribe)
        if effects.reads:
            self.queue.add(effects.reads, self.world.now)
            self.wake()
        for session in effects.sessions_to_flush:
            if (socket := self.sockets.get(session)) and session.outbox.writable:
                while frames := session.outbox.pop(self.world.now):
                    socket.send_to_client(
                        frame if isinstance(frame, bytes) else frame.text for frame in frames
                    )
        for session, disconnect in effects.disconnects:
            if socket := self.sockets.get(session):
                socket.close(int(disconnect.code))
        assert not effects.tokens_to_check

    def drain(self) -> None:
        """Closes all connections, as a gateway that is deployed anew."""
        for socket in self.sockets.values():
            socket.close(int(CloseCode.GOODBYE))
