"""A simulated world of the gateway's pure core: Redis, Postgres, clients and time. A test takes each step."""

import math
from collections import deque
from collections.abc import Iterable
from math import ceil

from livebalance.gateway.auth.gate import MAX_PAUSE, Gate
from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import EVERYTHING, Rights
from livebalance.gateway.live.effects import AccountRead, Effects
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.session import SessionLimits
from livebalance.gateway.live.sessions import SessionConfig, Sessions
from livebalance.readmodel.gateway_reads import AccountState, AuditFinding, ContentDigest, LaneProgress
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.close import CloseCode
from livebalance.wire.delta import Delta, DeltaParts, make_delta
from livebalance.wire.frame import (
    PATCHES,
    ChannelRequest,
    Limits,
    PositionJson,
    Rate,
    Subscribe,
    Unsubscribe,
    encode_frame,
)
from livebalance.wire.identity import AccountId, Lane, Position, Revision, TransferId, channel_name
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json
from tests.simulation.gateway.client import Client, Screen
from tests.simulation.projection import (
    PAGE_TRANSFERS,
    RECOVERY_MAX_REVISIONS,
    SNAPSHOT_TRANSFERS,
    WHEN,
    Projection,
)
from tests.simulation.reads import (
    ReadLimits,
    StoredAccount,
    StoredProjection,
    StoredTransfer,
    account_state,
    audit_finding,
)

QUIET_ROUNDS = 3  # of a second each: time for an audit, the wait after it, and a read
EXPIRY_SECONDS = 1.5  # within which a connection is closed after its token has expired
READS_A_SECOND = 20  # of a client that catches up page by page
HEAL_SECONDS = 15  # after the faults have ended, within which everything is up to date
START = 1_795_000_000_000
CLIENT_QUEUE_BYTES = 1100  # room for one or two frames, or for four transfers in one frame
HISTORY_BYTES = 2500  # so few that frames inside a chain are dropped
NO_LIMITS = SessionLimits(*[1e9] * 4)
CONFIG = SessionConfig(
    "gateway-1",
    "0",
    10_000,
    Limits(16384, 128, RECOVERY_MAX_REVISIONS, sets=4),
    CLIENT_QUEUE_BYTES,
    session_limits=NO_LIMITS,
    max_connections_per_user=99,
)
LANE = Lane(0)
LIMITS = ReadLimits(RECOVERY_MAX_REVISIONS, PAGE_TRANSFERS, SNAPSHOT_TRANSFERS)
NEVER = Millis(START * 2)

States = dict[Position | None, AccountState]


class World:
    """`now` is in seconds. On the wall clock each commit has a millisecond of its own."""

    client_type = Client

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.hub = Hub(RECOVERY_MAX_REVISIONS, HISTORY_BYTES)
        self.sessions = Sessions(CONFIG, Revocations(), self.hub)
        self.now = 0.0
        self.gate = Gate(self.now, math.inf)
        self.gate.on_revocations(self.now)
        self.gate.on_audit(self.now)
        self.is_withholding = False
        self.unread: list[Revocation] = []  # that the gateway has not read
        self.audit_began = self.now
        self.wall = Millis(START)
        self.halted_at: Millis | None = None  # on the wall clock; None: the lane is not halted
        self.clients: list[Client] = []
        self._users = 0
        # Commits of each account: the time, and the position since then.
        self.commits: dict[AccountId, list[tuple[Millis, Position]]] = {a: [] for a in projection.accounts}
        # Redis
        self.subscribed: set[AccountId] = set()
        self.commands: deque[tuple[AccountId, bool]] = deque()  # sent to Redis; True: subscribe
        self.incoming: deque[tuple[AccountId, Delta | None]] = deque()  # None: an acknowledgement
        self.pending: dict[AccountId, int] = {}  # acknowledgements that are due to the subscriber
        self.unpublished: list[tuple[AccountId, Delta]] = []
        # Postgres
        self.reads: list[AccountRead] = []
        self.answers: list[tuple[AccountRead, States]] = []
        self.audit: tuple[dict[AccountId, Position], AuditFinding | None] | None = None
        self._digests: dict[AccountId, ContentDigest] = {}  # of the running audit

    # --- the projection

    def change(self, account: AccountId, transfers: list[bool], header_only: bool) -> None:
        """Commits one batch of transfers (True) and balances (False), to be published."""
        before = self.projection.current(account).revision
        for index, is_transfer in enumerate(transfers):
            self.projection.change(account, is_transfer, index - 1)
        self._commit(account)
        if self.projection.current(account).revision > before:
            self.unpublished.append((account, self._delta(account, before, header_only)))

    def erase(self, account: AccountId) -> None:
        before = self.projection.current(account).revision
        self.projection.erase(account)
        self._commit(account)
        parts = DeltaParts(
            self.projection.epoch, before, Revision(before + 1), self.wall, balance_json(None), b""
        )
        self.unpublished.append((account, make_delta(account, LANE, parts, gone=True)))

    def lose(self, account: AccountId, count: int) -> None:
        """Postgres goes back within the epoch. What was lost may have been published, or is yet to be."""
        self.projection.lose(account, count)
        current = self.projection.current(account).revision
        self.commits[account] = [
            commit
            for commit in self.commits[account]
            if commit[1].epoch != self.projection.epoch or commit[1].revision <= current
        ]

    def halt(self, *, halted: bool) -> None:
        """Halts the lane: it is complete as of now until it continues."""
        self.halted_at = self.wall if halted else None

    def rebuild(self) -> None:
        self.projection.rebuild()
        for account in self.projection.accounts:
            self._commit(account)

    def _commit(self, account: AccountId) -> None:
        self.wall = Millis(self.wall + 1)
        position = Position(self.projection.epoch, self.projection.current(account).revision)
        self.commits[account].append((self.wall, position))

    def _delta(self, account: AccountId, before: Revision, header_only: bool) -> Delta:
        frame = self.projection.delta(account, before)
        assert isinstance(frame.balance, BalanceView | None)
        content = (balance_json(frame.balance), transfers_json(frame.transfers))
        parts = DeltaParts(
            self.projection.epoch,
            before,
            frame.to,
            self.wall,
            *((b"", b"") if header_only else content),
        )
        return make_delta(account, LANE, parts)

    # --- Redis

    def publish(self, index: int = 0) -> None:
        if index < len(self.unpublished):
            account, delta = self.unpublished.pop(index)
            if account in self.subscribed:
                self.incoming.append((account, delta))

    def forge(self, account: AccountId, gone: bool) -> None:
        """Publishes a delta that the gateway takes for the next, or the end of the account."""
        subscribers = self.hub.subscribers.get(account)
        position = subscribers.channel.position if subscribers else None
        if account not in self.subscribed or position is None or position.epoch != self.projection.epoch:
            return
        after = Revision(position.revision + 1)
        transfer = TransferView(TransferId("forged"), "9", "9", WHEN, after, "transfers/0@1")
        content = (balance_json(None), transfers_json([transfer]))
        parts = DeltaParts(position.epoch, position.revision, after, self.wall, *content)
        self.incoming.append((account, make_delta(account, LANE, parts, gone=gone)))
        self.projection.forged.add(account)

    def execute_command(self) -> None:
        if self.commands:
            account, subscribe = self.commands.popleft()
            (self.subscribed.add if subscribe else self.subscribed.discard)(account)
            if subscribe:
                self.incoming.append((account, None))

    def deliver(self, count: int = 1) -> None:
        """Delivers messages and acknowledgements. Only the last acknowledgement of an account counts."""
        for account, delta in [self.incoming.popleft() for _ in range(min(count, len(self.incoming)))]:
            if delta and not self.is_withholding:
                self.hub.on_delta(account, delta)
            elif delta is None and account in self.pending:
                self.pending[account] -= 1
                if self.pending[account] == 0:
                    self.hub.on_subscribed(account)
        self.perform()

    def restart_redis(self) -> None:
        """Loses all that Redis had. The subscriber subscribes again to every account."""
        self.incoming.clear()
        self.commands.clear()
        self.subscribed.clear()
        self.pending.clear()
        for account in self.hub.subscribers:
            self._send_command(account, subscribe=True)

    def _send_command(self, account: AccountId, subscribe: bool) -> None:
        self.commands.append((account, subscribe))
        if subscribe:
            self.pending[account] = self.pending.get(account, 0) + 1

    # --- Postgres

    def run_read(self, index: int = 0) -> None:
        """Runs the statement of a read now. Its answer may arrive much later."""
        if index < len(self.reads):
            read = self.reads.pop(index)
            states = {position: self._state(read.account, position) for position in read.positions}
            self.answers.append((read, states))

    def answer(self, index: int = 0) -> None:
        if index < len(self.answers):
            read, states = self.answers.pop(index)
            self.hub.on_read(read, states, self.now)
            self.perform()

    def fail_read(self, index: int = 0) -> None:
        if index < len(self.reads):
            self.hub.on_read_failed(self.reads.pop(index), 1000)
            self.perform()

    def begin_audit(self) -> None:
        self.audit = self.hub.positions(self.hub.subscribers), None
        self.audit_began = self.now
        self._digests = self.hub.begin_audit(self.audit[0])

    def run_audit(self) -> None:
        if self.audit and self.audit[1] is None:
            positions = self.audit[0]
            revisions = {account: self.projection.current(account).revision for account in positions}
            finding = audit_finding(self._stored, revisions, positions)
            different = {
                account
                for account, digest in self._digests.items()
                if self.projection.current(account).differs(positions[account].revision, digest)
            }
            self.audit = positions, finding._replace(different=frozenset(different))

    def end_audit(self) -> None:
        if self.audit and self.audit[1]:
            positions, finding = self.audit[0], self.audit[1]
            self.hub.on_audit(positions, finding, self.now)
            self.audit = None
            self.perform()
            self.gate.on_audit(self.audit_began)
            self._flush_withheld()

    @property
    def _stored(self) -> StoredProjection:
        lane = LaneProgress(self.halted_at or self.wall, "why" if self.halted_at else None)
        return StoredProjection(self.projection.epoch, 1, {LANE: lane})

    def _state(self, account: AccountId, position: Position | None) -> AccountState:
        history = self.projection.current(account)
        stored = StoredAccount(
            history.revision,
            LANE if history.revision else None,
            self.wall,
            history.balance(),
            [StoredTransfer(view, self.wall) for view in history.transfers()],
            history.erased_revision(),
        )
        return account_state(self._stored, stored, position, LIMITS)

    # --- clients

    def connect(self, seconds: float = math.inf) -> Client:
        """Connects a client whose token expires after `seconds`."""
        self._users += 1
        subject = f"user-{self._users}"
        session = self.sessions.connect(f"s{len(self.clients)}", "address", self.now)
        expires = NEVER if seconds == math.inf else Millis(self.wall + int(seconds * 1000))
        rights = Rights(subject, "login", EVERYTHING, START // 1000, expires)
        self.sessions.authorize(session, None, rights, self.now, self.wall)
        client = self.client_type(session, subject, self.projection, self.now + seconds)
        self.clients.append(client)
        self.perform()
        return client

    def reconnect(self, client: Client, seconds: float = math.inf) -> None:
        """Loses what is under way to a client, which then resumes from the positions that it shows."""
        index = self.clients.index(client)
        self.disconnect(client)
        again = self.connect(seconds)
        self.clients.insert(index, self.clients.pop())
        for account, screen in client.screens.items():
            again.screens[account] = screen
            # Nothing tells another gateway that a position has forged content.
            position = None if account in self.projection.forged else screen.position
            self.subscribe(again, account, position)

    def disconnect(self, client: Client) -> None:
        self.clients.remove(client)
        self.sessions.disconnect(client.session)
        self.perform()

    def subscribe(self, client: Client, account: AccountId, position: Position | None) -> None:
        """Subscribes a client at `position`. It keeps what it shows only if that is its position."""
        request = client.next_request()
        old = client.screens.get(account)
        kept = old if old and old.position == position else Screen(position)
        client.screens[account] = Screen(position, kept.transfers, kept.balance, request)
        named = PositionJson(position.epoch, position.revision) if position else None
        features = [PATCHES] if request % 3 else []
        self._receive(client, Subscribe(request, [ChannelRequest(channel_name(account), named)], features))

    def unsubscribe(self, client: Client, account: AccountId) -> None:
        client.screens.pop(account, None)
        self._receive(client, Unsubscribe(client.next_request(), [channel_name(account)]))

    def revoke(self, client: Client, account: AccountId) -> None:
        """Revokes the rights of a user for an account. What its transport took before may still arrive."""
        client.revoked.add(account)
        self.sessions.revoke([Revocation(client.subject, None, account, self.wall)])
        self.perform()

    def revoke_while_paused(self, client: Client, account: AccountId) -> None:
        """The gateway is stopped, rights are revoked, and it wakes in the middle of whatever it does."""
        self.now += 2 * MAX_PAUSE
        client.revoked.add(account)
        self.unread.append(Revocation(client.subject, None, account, self.wall))

    def read_revocations(self) -> None:
        unread, self.unread = self.unread, []
        self.sessions.revoke(unread)
        self.perform()
        self.gate.on_revocations(self.now)
        self._flush_withheld()

    def set_rate(self, client: Client, per_second: float | None) -> None:
        client.interval = 1 / per_second if per_second else 0.0
        client.written_at = float("-inf")
        self._receive(client, Rate(client.next_request(), per_second))

    def _receive(self, client: Client, frame: Subscribe | Unsubscribe | Rate) -> None:
        self.sessions.receive(client.session, encode_frame(frame), self.now)
        self.perform()

    def set_writable(self, client: Client, writable: bool) -> None:
        self.sessions.set_writable(client.session, writable)
        self.perform()

    # --- the relay

    def tick(self, seconds: float) -> None:
        for _ in range(ceil(seconds)):
            self.now += seconds / ceil(seconds)
            self.gate.tick(self.now)
        due = self.sessions.flush_due(self.now)
        self.perform()
        self.sessions.flushed(due)
        self.hub.tick(self.now)
        self.sessions.tick(self.now, self.wall)
        self.perform()
        assert all(client.expires_at > self.now - EXPIRY_SECONDS for client in self.clients), (
            "a token outlived its time"
        )

    def perform(self) -> None:
        effects = self.hub.drain_effects()
        for account, subscribe in effects.redis_subscriptions.items():
            self._send_command(account, subscribe)
        self.reads += effects.reads
        self.drained(effects)
        if effects.sessions_to_flush:
            self._flush_all(
                [client for client in self.clients if client.session in effects.sessions_to_flush]
            )
        for session, disconnect in effects.disconnects:
            (expired,) = [client for client in self.clients if client.session is session]
            assert disconnect.code is CloseCode.TOKEN_EXPIRED
            assert self.now >= expired.expires_at
            self.reconnect(expired)

    def drained(self, effects: Effects) -> None:
        """Called with the effects of each input."""

    def written(self, client: Client, frames: Iterable[Frame | bytes]) -> None:
        """Called with the frames that a client's transport takes."""

    def _flush_all(self, clients: Iterable[Client]) -> None:
        self.is_withholding = not self.gate.is_open(self.now)
        for client in clients:
            if client.session.outbox.writable and not self.is_withholding:
                self._flush(client)

    def _flush_withheld(self) -> None:
        if self.is_withholding and self.gate.is_open(self.now):
            self._flush_all(self.clients)

    def _flush(self, client: Client) -> None:
        outbox = client.session.outbox
        due = outbox.due
        if outbox.size and self.now >= due:
            assert self.now >= client.written_at + client.interval
            client.written_at = self.now
        frames: list[Frame | bytes] = []
        while popped := outbox.pop(self.now):
            frames += popped
        if outbox.due > due:  # more than may wait for the rate was written
            client.written_at = self.now
        self.written(client, frames)
        texts = [frame if isinstance(frame, bytes) else frame.text for frame in frames]
        for account in client.revoked:
            data = b'"%s","epoch"' % channel_name(account).encode()
            assert not any(data in text for text in texts), "a frame of a revoked account was written"
        client.wire += texts
        if outbox.is_delayed or client.session.waits_for_room:
            self.sessions.schedule(client.session, self.now)

    def settle(self, *, audits: bool) -> None:
        """Ends the faults: all that is under way arrives, in order, until nothing happens any more."""
        for client in self.clients:
            self.set_writable(client, True)
            if client.interval > 1:  # it asked to be up to date more rarely than the bound demands
                self.set_rate(client, 1.0)
        self.halted_at = None
        quiet = 0
        for _ in range(HEAL_SECONDS):
            busy = sum(self._finish_everything() for _ in range(READS_A_SECOND)) > 0
            if audits:
                self.read_revocations()
                self.begin_audit()
                self.run_audit()
                self.end_audit()
            self.tick(1.0)
            quiet = 0 if busy or self._is_busy or self.sessions.due else quiet + 1
            if quiet == QUIET_ROUNDS:
                break
        else:
            raise AssertionError(f"the world does not settle within {HEAL_SECONDS} s")
        for client in self.clients:
            while client.read():
                pass

    @property
    def _is_busy(self) -> bool:
        return bool(self.unpublished or self.commands or self.incoming or self.reads or self.answers)

    def _finish_everything(self) -> bool:
        """Delivers all that is under way. Returns whether there was anything."""
        busy = self._is_busy
        while self.unpublished:
            self.publish()
        while self.commands:
            self.execute_command()
        self.deliver(len(self.incoming))
        for _ in range(len(self.reads)):
            self.run_read()
        for _ in range(len(self.answers)):
            self.answer()
        return busy
