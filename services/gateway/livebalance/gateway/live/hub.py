"""The hub: all accounts that clients of this gateway subscribe to. Deltas go in, frames in outboxes come out.

Pure: it takes values and times (monotonic seconds), and collects what is to be done in `effects`.
"""

from collections.abc import Iterable, Mapping
from functools import partial

from livebalance.gateway.live.channel import StoredPosition
from livebalance.gateway.live.collections import OrderedSet
from livebalance.gateway.live.effects import AccountRead, Effects
from livebalance.gateway.live.history import History
from livebalance.gateway.live.patches import Patcher
from livebalance.gateway.live.recovery import DISOWNED, recover
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sets.sets import Sets
from livebalance.gateway.live.subscribers import CatchUp, Subscribers
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState, AuditFinding, ContentDigest
from livebalance.wire.delta import Delta
from livebalance.wire.identity import AccountId, Epoch, Position
from livebalance.wire.timestamp import Millis

ACK_TIMEOUT = 5.0  # seconds for Redis to acknowledge a subscription, before clients get `unavailable`
OVERDUE_AFTER = 0.4  # seconds that the delta of a commit may arrive after an audit saw the commit
RETRY_AFTER_MS = 1000


class Hub:
    """Owns the subscribers of each account, and decides what is read, relayed and repaired."""

    def __init__(self, recovery_max_revisions: int, history_bytes: int, set_accounts: int = 10_000) -> None:
        """Creates a hub without accounts.

        Args:
            recovery_max_revisions: A client further behind gets a snapshot instead of deltas.
            history_bytes: Bound of the memory for recently sent frames.
            set_accounts: Maximum number of accounts of a set.
        """
        self.effects = Effects()
        self.sets = Sets(self.effects, set_accounts)
        self.history = History(history_bytes)
        self.subscribers: dict[AccountId, Subscribers] = {}
        self.epoch: Epoch | None = None  # the newest that was read
        self._recovery_max_revisions = recovery_max_revisions
        self._patcher = Patcher()
        self._unacknowledged: OrderedSet[Subscribers] = OrderedSet()
        self._expecting: OrderedSet[Subscribers] = OrderedSet()  # channels behind what Postgres has

    def drain_effects(self) -> Effects:
        """Removes and returns what is to be done since the last call."""
        effects = self.effects
        while effects.sessions_behind or effects.subscribers_to_read:
            while effects.sessions_behind:
                session = effects.sessions_behind.pop_last()
                _catch_up(session)
                self.sets.catch_up(session)
            while effects.subscribers_to_read:
                effects.subscribers_to_read.pop_last().begin_read()
        return effects.drain()

    # --- subscriptions

    def subscribe(
        self,
        session: Session,
        account: AccountId,
        position: Position | None,
        now: float,
        *,
        wants_patches: bool = False,
    ) -> None:
        """Subscribes a session whose client has the account at `position` (None: not at all).

        A client that is subscribed already lost its position, and is subscribed again.
        """
        subscribers = self.subscribers.get(account)
        if subscribers is None:
            subscribers = Subscribers(account, self.effects, self.history, self._recovery_max_revisions, now)
            self.subscribers[account] = subscribers
            self._unacknowledged.add(subscribers)
            self.effects.redis_subscriptions[account] = True
        # A queued heartbeat does not cover this account, but would be read as if it did.
        session.outbox.set_heartbeat(b"")
        if subscription := session.subscriptions.get(account):
            session.outbox.drop_account(account)
            subscribers.unsubscribe(subscription)
        subscribers.subscribe(session, position, wants_patches=wants_patches)
        if wants_patches and session.outbox.rewrite is None:
            session.outbox.rewrite = partial(self._patcher.patch, session.subscriptions)

    def unsubscribe(self, session: Session, account: AccountId) -> None:
        """Unsubscribes a session, if it is subscribed, and drops what waits for it of this account."""
        if subscription := session.subscriptions.get(account):
            session.outbox.drop_account(account)
            subscription.subscribers.unsubscribe(subscription)
            self._remove_if_empty(subscription.subscribers)

    def _remove_if_empty(self, subscribers: Subscribers) -> None:
        account = subscribers.channel.account
        if subscribers.size == 0 and self.subscribers.get(account) is subscribers:
            del self.subscribers[account]
            self._unacknowledged.discard(subscribers)
            self._expecting.discard(subscribers)
            self.effects.subscribers_to_read.discard(subscribers)
            self.effects.redis_subscriptions[account] = False

    # --- Redis

    def on_subscribed(self, account: AccountId) -> None:
        """Allows the first read of the account. Called when Redis has acknowledged the subscription."""
        if subscribers := self.subscribers.get(account):
            subscribers.channel.subscribed = True
            self._unacknowledged.discard(subscribers)
            self.effects.subscribers_to_read.add(subscribers)

    def on_delta(self, account: AccountId, delta: Delta) -> None:
        """Relays a delta from Redis, or begins to repair the gap that it shows."""
        if subscribers := self.subscribers.get(account):
            channel = subscribers.channel
            subscribers.on_delta(delta)
            if channel.has_gap or channel.expected:
                self._watch_channel(subscribers)

    # --- Postgres

    def on_read(self, read: AccountRead, states: Mapping[Position | None, AccountState], now: float) -> None:
        """Takes the answer to a read: the account, for each of `read.positions`."""
        subscribers = self.subscribers.get(read.account)
        if subscribers is None or not subscribers.is_current(read):
            return
        recoveries = {
            position: recover(AccountQuery(read.account, position), state)
            for position, state in states.items()
        }
        self.epoch = next(iter(states.values())).epoch
        subscribers.on_read(recoveries, now)
        self._watch_channel(subscribers)
        self._remove_if_empty(subscribers)

    def on_read_failed(self, read: AccountRead, retry_after_ms: int) -> None:
        """Answers `unavailable` to clients that were sent nothing yet. The others wait for the next read."""
        subscribers = self.subscribers.get(read.account)
        if subscribers and subscribers.is_current(read):
            subscribers.on_read_failed(retry_after_ms)
            self._remove_if_empty(subscribers)

    def positions(self, accounts: Iterable[AccountId]) -> dict[AccountId, Position]:
        """Returns the positions of the channels that were read, which an audit can check."""
        channels = (self.subscribers[account].channel for account in accounts if account in self.subscribers)
        return {
            channel.account: channel.position
            for channel in channels
            if channel.position and channel.position != DISOWNED
        }

    def begin_audit(self, accounts: Iterable[AccountId]) -> dict[AccountId, ContentDigest]:
        """Returns digests of what was relayed of these accounts, and is to be compared with Postgres."""
        self.sets.begin_audit()
        digests = {
            account: self.subscribers[account].channel.begin_audit()
            for account in accounts
            if account in self.subscribers
        }
        return {account: digest for account, digest in digests.items() if digest}

    def on_audit(self, asked: Mapping[AccountId, Position], finding: AuditFinding, now: float) -> None:
        """Compares channels, which were at `asked` when the audit began, with what it found in Postgres.

        See docs/guarantees.md#audit.
        """
        self.epoch = finding.epoch
        self.sets.on_audit(finding, now)
        oldest = _oldest_as_of(finding)
        for account, position in asked.items():
            subscribers = self.subscribers.get(account)
            if subscribers is None:
                continue
            channel = subscribers.channel
            lane = finding.lanes.get(channel.lane) if channel.lane is not None else None
            stored = Position(finding.epoch, finding.revisions.get(account, position.revision))
            _compare_content(subscribers, position, finding)
            channel.on_audit(position, StoredPosition(stored, lane.as_of if lane else oldest, now))
            subscribers.check_ahead(stored)
            self._watch_channel(subscribers)

    def _watch_channel(self, subscribers: Subscribers) -> None:
        if subscribers.channel.has_gap:
            self.effects.subscribers_to_read.add(subscribers)
        elif subscribers.channel.expected:
            self._expecting.add(subscribers)

    # --- time

    def tick(self, now: float) -> None:
        """Handles timeouts. Called at least twice a second."""
        self.history.now = now
        self.sets.tick(now)
        waiting = list(self._unacknowledged)
        for subscribers in waiting:
            if subscribers.channel.created_at < now - ACK_TIMEOUT:
                subscribers.reject_unanswered(RETRY_AFTER_MS)
                self._remove_if_empty(subscribers)
        for subscribers in list(self._expecting):
            if subscribers.channel.check_overdue(now - OVERDUE_AFTER):
                self.effects.subscribers_to_read.add(subscribers)
            if subscribers.channel.has_gap or not subscribers.channel.expected:
                self._expecting.discard(subscribers)


def _catch_up(session: Session) -> None:
    """Lets subscriptions that are behind catch up, in turn, as far as the session has room."""
    while session.behind and session.has_room:
        subscription = session.behind.popleft()
        if subscription.state is CatchUp.BEHIND:
            subscription.subscribers.catch_up(subscription)


def _compare_content(subscribers: Subscribers, asked: Position, finding: AuditFinding) -> None:
    """Confirms or disowns what the channel had relayed when the audit began at `asked`."""
    channel = subscribers.channel
    if channel.content is None or not channel.content.is_audited or asked.epoch != finding.epoch:
        return
    if channel.account in finding.different:
        subscribers.disown_content()
    elif finding.revisions.get(channel.account, asked.revision) >= asked.revision:
        channel.confirm_content()


def _oldest_as_of(finding: AuditFinding) -> Millis | None:
    """Returns the `as_of` for an account without a lane: that of the oldest lane, if all lanes have it."""
    as_of = [lane.as_of for lane in finding.lanes.values() if lane.as_of is not None]
    return min(as_of) if as_of and len(as_of) == finding.partitions else None
