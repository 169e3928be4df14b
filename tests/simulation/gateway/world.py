"""The gateway's machines in a world that a test steers: Redis, Postgres, clients, time, and their faults."""

from collections import deque

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import EVERYTHING, Rights
from livebalance.gateway.live.effects import AccountRead
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import SessionLimits
from livebalance.gateway.live.sessions import SessionConfig, Sessions
from livebalance.readmodel.gateway_reads import AccountState, AuditFinding, LaneProgress
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.delta import Delta, DeltaParts, make_delta
from livebalance.wire.frame import (
    ChannelRequest,
    Limits,
    PositionJson,
    Rate,
    Subscribe,
    Unsubscribe,
    encode_frame,
)
from livebalance.wire.identity import AccountId, Lane, Position, Revision, channel_name
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, balance_json, transfers_json
from tests.simulation.gateway.client import Client, Screen
from tests.simulation.truth import PAGE_TRANSFERS, RESUME_MAX, SNAPSHOT_TRANSFERS, Truth

QUIET = 3  # rounds of a second: an audit, its patience, a read
START = 1_795_000_000_000
OUTBOX_BYTES = 1100  # of one or two frames, or of four transfers in one
EAGER = SessionLimits(*[1e9] * 4)  # nobody asks too often
TRAIL_BYTES = 2500  # so little that links of its chains go
LIMITS = Limits(16384, 128, RESUME_MAX)
TERMS = SessionConfig("gateway-1", "0", 10_000, LIMITS, OUTBOX_BYTES, manners=EAGER, per_user=99)
LANE = Lane(0)
FOR_EVER = Millis(START * 2)

Answers = dict[Position | None, AccountState]


class World:
    """Times: `now` in s; every change of the truth is one ms of its own on the wall clock."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.hub = Hub(RESUME_MAX, TRAIL_BYTES)
        self.sessions = Sessions(TERMS, Revocations(), self.hub)
        self.now = 0.0
        self.clients: list[Client] = []
        self._subjects = 0
        self.changes: dict[AccountId, list[tuple[Millis, Position]]] = {a: [] for a in truth.accounts}
        self.wall = Millis(START)
        # Redis
        self.subscribed: set[AccountId] = set()
        self.commands: deque[tuple[AccountId, bool]] = deque()
        self.incoming: deque[tuple[AccountId, Delta | None]] = deque()  # None: an acknowledgement
        self.wanted: dict[AccountId, int] = {}  # as the shell has it: acknowledgements still to come
        self.unpublished: list[tuple[AccountId, Delta]] = []
        # Postgres
        self.reads: list[AccountRead] = []
        self.answers: list[tuple[AccountRead, Answers]] = []
        self.audit: tuple[dict[AccountId, Position], AuditFinding | None] | None = None
        self.queries = 0

    # --- the truth

    def change(self, account: AccountId, kinds: list[bool], header_only: bool) -> None:
        """One batch: committed, and to be published."""
        before = self.truth.now(account).revision
        for number, transfer in enumerate(kinds):
            self.truth.change(account, transfer, number - 1)
        self._committed(account)
        if self.truth.now(account).revision > before:
            self.unpublished.append((account, self._delta(account, before, header_only)))

    def rebuild(self) -> None:
        self.truth.rebuild()
        for account in self.truth.accounts:
            self._committed(account)

    def _committed(self, account: AccountId) -> None:
        self.wall = Millis(self.wall + 1)
        self.changes[account].append((self.wall, self._at(account)))

    def _at(self, account: AccountId) -> Position:
        return Position(self.truth.epoch, self.truth.now(account).revision)

    def _delta(self, account: AccountId, before: Revision, header_only: bool) -> Delta:
        frame = self.truth.delta(account, before)
        assert isinstance(frame.balance, BalanceView | None)
        ready = (balance_json(frame.balance), transfers_json(frame.transfers))
        parts = DeltaParts(
            self.truth.epoch,
            before,
            frame.to,
            self.wall,
            *((b"", b"") if header_only else ready),
        )
        return make_delta(account, LANE, parts)

    # --- Redis

    def publish(self, place: int = 0) -> None:
        if place < len(self.unpublished):
            account, delta = self.unpublished.pop(place)
            if account in self.subscribed:
                self.incoming.append((account, delta))

    def serve_command(self) -> None:
        if self.commands:
            account, there = self.commands.popleft()
            (self.subscribed.add if there else self.subscribed.discard)(account)
            if there:
                self.incoming.append((account, None))

    def deliver(self, count: int = 1) -> None:
        for account, delta in [self.incoming.popleft() for _ in range(min(count, len(self.incoming)))]:
            if delta:
                self.hub.delta(account, delta)
            elif account in self.wanted:
                self.wanted[account] -= 1
                if self.wanted[account] == 0:
                    self.hub.acked(account)
        self.perform()

    def restart_redis(self) -> None:
        """Nothing that was under way arrives; the shell subscribes again to all it wants."""
        self.incoming.clear()
        self.commands.clear()
        self.subscribed.clear()
        self.wanted.clear()
        for account in self.hub.audiences:
            self._subscribe(account, there=True)

    def _subscribe(self, account: AccountId, there: bool) -> None:
        self.commands.append((account, there))
        if there:
            self.wanted[account] = self.wanted.get(account, 0) + 1

    # --- Postgres

    def run_read(self, place: int = 0) -> None:
        """The statement sees the truth of this moment; its answer may come much later."""
        if place < len(self.reads):
            read = self.reads.pop(place)
            self.queries += 1
            self.answers.append((read, {after: self._found(read.account, after) for after in read.afters}))

    def answer(self, place: int = 0) -> None:
        if place < len(self.answers):
            read, found = self.answers.pop(place)
            self.hub.answered(read, found, self.now)
            self.perform()

    def fail_read(self, place: int = 0) -> None:
        if place < len(self.reads):
            self.hub.failed(self.reads.pop(place), 1000)
            self.perform()

    def begin_audit(self) -> None:
        self.audit = self.hub.positions(self.hub.audiences), None

    def run_audit(self) -> None:
        if self.audit and self.audit[1] is None:
            asked = self.audit[0]
            revisions = {a: self.truth.now(a).revision for a in asked}
            differing = {a: found for a, found in revisions.items() if found != asked[a].revision}
            finding = AuditFinding(self.truth.epoch, 1, {LANE: LaneProgress(self.wall, None)}, differing)
            self.audit = asked, finding

    def end_audit(self) -> None:
        if self.audit and self.audit[1]:
            self.hub.audited(*self.audit, self.now)  # type: ignore[arg-type] # there is a finding
            self.audit = None
            self.perform()

    def _found(self, account: AccountId, after: Position | None) -> AccountState:
        history = self.truth.now(account)
        behind = history.revision - after.revision if after else -1
        follows = after is not None and after.epoch == self.truth.epoch and 0 <= behind <= RESUME_MAX
        limit = PAGE_TRANSFERS if follows else SNAPSHOT_TRANSFERS
        transfers = history.transfers(after.revision if follows and after else 0)
        if not follows:
            transfers = transfers[::-1]
        return AccountState(
            epoch=self.truth.epoch,
            revision=history.revision,
            lane=LANE if history.revision else None,
            as_of=self.wall,
            recorded_at=self.wall,
            balance=history.balance(),
            transfers=transfers[:limit],
            follows=follows,
            more=len(transfers) > limit,
            erased=False,
        )

    # --- clients

    def connect(self) -> Client:
        self._subjects += 1
        subject = f"subject-{self._subjects}"
        session = self.sessions.connect(f"s{len(self.clients)}", "address", self.now)
        rights = Rights(subject, "login", EVERYTHING, START // 1000, FOR_EVER)
        self.sessions.vouched(session, None, rights, self.now, self.wall)
        client = Client(session, subject)
        self.clients.append(client)
        self.perform()
        return client

    def disconnect(self, client: Client) -> None:
        self.clients.remove(client)
        self.sessions.disconnect(client.session)
        self.perform()

    def follow(self, client: Client, account: AccountId, at: Position | None) -> None:
        """Anew with the position it has, or with none."""
        request = client.next_request()
        old = client.screens.get(account)
        kept = old if old and old.position == at else Screen(at)
        client.screens[account] = Screen(at, kept.transfers, kept.balance, request)
        named = PositionJson(at.epoch, at.revision) if at else None
        self._say(client, Subscribe(request, [ChannelRequest(channel_name(account), named)]))

    def leave(self, client: Client, account: AccountId) -> None:
        client.screens.pop(account, None)
        self._say(client, Unsubscribe(client.next_request(), [channel_name(account)]))

    def revoke(self, client: Client, account: AccountId) -> None:
        """What its transport took before it may still come."""
        client.taken_back.add(account)
        self.sessions.revoked([Revocation(client.subject, None, account, self.wall)])
        self.perform()

    def rate(self, client: Client, per_second: float | None) -> None:
        client.period = 1 / per_second if per_second else 0.0
        client.written = float("-inf")
        self._say(client, Rate(client.next_request(), per_second))

    def _say(self, client: Client, frame: Subscribe | Unsubscribe | Rate) -> None:
        self.sessions.receive(client.session, encode_frame(frame), self.now)
        self.perform()

    def take_bytes(self, client: Client, writable: bool) -> None:
        self.sessions.writable(client.session, writable)
        self.perform()

    # --- the shell

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.sessions.release(self.now)
        self.perform()
        self.hub.tick(self.now)
        self.sessions.tick(self.now, self.wall)
        self.perform()

    def perform(self) -> None:
        done = self.hub.take()
        for account, there in done.subscriptions.items():
            self._subscribe(account, there)
        self.reads += done.reads
        for client in self.clients:
            if client.session in done.touched and client.session.outbox.writable:
                self._write(client)
        assert not done.hangups

    def _write(self, client: Client) -> None:
        outbox = client.session.outbox
        if outbox.size and self.now >= outbox.due:
            assert self.now >= client.written + client.period
            client.written = self.now
        texts = [frame if isinstance(frame, bytes) else frame.text for frame in outbox.pop(self.now)]
        for account in client.taken_back:
            assert b'"%s","epoch"' % channel_name(account).encode() not in b"".join(texts), (
                "it was taken back"
            )
        client.wire += texts
        if outbox.held:
            self.sessions.hold(client.session)

    def settle(self, *, audits: bool) -> None:
        """The faults are over: everything under way arrives, in order; with `audits`, those run too."""
        for client in self.clients:
            self.take_bytes(client, True)
        quiet = 0
        for _ in range(100):
            busy = self._pass_everything()
            if audits:
                self.begin_audit()
                self.run_audit()
                self.end_audit()
            self.tick(1.0)
            quiet = 0 if busy or self.reads or self.sessions.due else quiet + 1
            if quiet == QUIET:
                break
        else:
            raise AssertionError("it never comes to rest")
        for client in self.clients:
            while client.read():
                pass

    def _pass_everything(self) -> bool:
        """Whether anything was under way."""
        busy = bool(self.unpublished or self.commands or self.incoming or self.reads or self.answers)
        while self.unpublished:
            self.publish()
        while self.commands:
            self.serve_command()
        self.deliver(len(self.incoming))
        for _ in range(len(self.reads)):
            self.run_read()
        for _ in range(len(self.answers)):
            self.answer()
        return busy
