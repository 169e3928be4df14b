"""All sets that clients of this gateway subscribe to. Batches and reads go in, frames in outboxes come out.

Pure, like the hub, of which it is a part: what is to be done is collected in the hub's effects.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from livebalance.gateway.live.collections import OrderedSet
from livebalance.gateway.live.effects import Effects
from livebalance.gateway.live.outbox import Frame, SessionEvent
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sets.set_channel import Outcome, SetBatch, SetChannel, SetRead
from livebalance.gateway.live.sets.stream import BatchStream
from livebalance.gateway.live.sets.subscription import SetSubscription, Stand, parse_position
from livebalance.readmodel.gateway_reads import AuditFinding
from livebalance.readmodel.sets.reads import SetState
from livebalance.wire.frame import Error, SetSnapshotReason, Unsubscribed
from livebalance.wire.identity import AccountId, Position, SetName
from livebalance.wire.sets.batch import ChangedAccount, KeptTotal, LaneBatch

MAX_SETS = 1000  # different sets at a gateway
KEPT_PER_USER = 20
FORGOTTEN_AFTER = 30.0  # seconds
ANSWER_SECONDS = 5.0  # for Redis and Postgres, before new clients get `unavailable`
OVERDUE_AFTER = 0.4  # seconds that a batch may arrive after an audit saw it
RETRY_AFTER_MS = 1000


class Sets:
    """Owns the channels of the sets and their subscriptions."""

    def __init__(self, effects: Effects, max_accounts: int) -> None:
        """Creates no set. A set may have `max_accounts`."""
        self.max_accounts = max_accounts
        self.channels: dict[SetName, SetChannel] = {}
        # Returns the accounts that revocations hide from a session.
        self.hidden_accounts: Callable[[Session], Collection[AccountId]] = lambda _: ()
        self._effects = effects
        self._stream = BatchStream()
        self._subscriptions: dict[SetName, OrderedSet[SetSubscription]] = {}
        self._by_prefix_length: dict[int, int] = {}  # how many sets have a prefix of that length
        self._is_subscribed = False  # Redis has acknowledged the channels of all lanes
        self._audited: OrderedSet[SetName] = OrderedSet()  # read least recently first
        # The sets that projectors keep: for which user, and when they were last to be kept.
        self._kept: dict[SetName, tuple[str, float]] = {}

    # --- subscriptions

    def subscribe(self, session: Session, name: SetName, now: float) -> None:
        """Subscribes a session. A client that is subscribed already is sent another snapshot."""
        session.outbox.set_heartbeat(b"")  # it does not cover this set, but would be read as if it did
        self.unsubscribe(session, name)
        channel = self.channels.get(name)
        if channel is None:
            if len(self.channels) >= MAX_SETS:
                self._reject(session, name, "too many sets at this gateway; retry later")
                return
            channel = self._add(name, now)
        subscription = SetSubscription(self, session, channel)
        session.sets[name] = subscription
        self._subscriptions[name].add(subscription)
        self._effects.sessions_behind.add(session)

    def _add(self, name: SetName, now: float) -> SetChannel:
        if not self.channels:
            self._effects.batches_wanted = True
        channel = self.channels[name] = SetChannel(name, self._stream, now)
        self._subscriptions[name] = OrderedSet()
        self._audited.add(name)
        if name.kind == "prefix":
            length = len(name.value)
            self._by_prefix_length[length] = self._by_prefix_length.get(length, 0) + 1
        if self._is_subscribed:
            self._request_read(channel)
        return channel

    def unsubscribe(self, session: Session, name: SetName) -> None:
        """Unsubscribes a session, if it is subscribed, and drops what waits for it of this set."""
        if subscription := session.sets.pop(name, None):
            session.outbox.drop_account(name)
            subscription.state = Stand.INACTIVE
            self._subscriptions[name].discard(subscription)
            if not self._subscriptions[name]:
                self._remove(name)

    def _remove(self, name: SetName) -> None:
        del self.channels[name], self._subscriptions[name]
        self._audited.discard(name)
        if name.kind == "prefix":
            length = len(name.value)
            self._by_prefix_length[length] -= 1
            if not self._by_prefix_length[length]:
                del self._by_prefix_length[length]
        if not self.channels:
            self._effects.batches_wanted = False
            self._is_subscribed = False
            self._stream = BatchStream()

    def hide(self, session: Session) -> None:
        """Ends the subscriptions of a session to sets with accounts that are hidden from it now.

        Frames that wait may have accounts that have left since, so they are dropped and made again.
        """
        has_hidden = session.sets and self.hidden_accounts(session)
        for subscription in list(session.sets.values()) if has_hidden else ():
            if not self._end_if_hidden(subscription):
                dropped = session.outbox.drop_account(subscription.channel.name)
                if dropped:
                    self.fall_behind(subscription, dropped.before)

    def _end_if_hidden(self, subscription: SetSubscription) -> bool:
        members = subscription.channel.members
        if not any(account in members for account in self.hidden_accounts(subscription.session)):
            return False
        self.end(subscription.session, subscription.channel.name, "revoked", "access was revoked")
        return True

    def end(self, session: Session, name: SetName, code: str, message: str) -> None:
        """Unsubscribes a session, and says why."""
        self.unsubscribe(session, name)
        session.send(Unsubscribed(name.channel, code, message))
        self._effects.sessions_to_flush.add(session)

    def _reject(self, session: Session, name: SetName, message: str) -> None:
        error = Error(
            "unavailable", message, temporary=True, channel=name.channel, retry_after_ms=RETRY_AFTER_MS
        )
        session.send(error)
        self._effects.sessions_to_flush.add(session)
        self.unsubscribe(session, name)

    # --- Redis

    def on_subscribed(self) -> None:
        """Allows the first reads. Called when Redis has acknowledged the channels of all lanes."""
        if self.channels:
            self._is_subscribed = True
            self._request_stale()

    def on_batch(self, batch: LaneBatch) -> None:
        """Relays a batch to the sets that it changes."""
        if not self.channels or not self._stream.on_batch(batch):
            return
        kept = defaultdict[str, list[KeptTotal]](list)
        for total in batch.totals:
            kept[total.channel].append(total)
        for name, accounts in self._changed_sets(batch.accounts).items():
            channel = self.channels[name]
            self._send(channel, channel.on_batch(SetBatch(batch, accounts, kept.get(name.channel, ()))))

    def on_batches_lost(self) -> None:
        """Reads all sets again. Called when the gateway has dropped batches."""
        self._stream.break_()

    def _changed_sets(self, accounts: Sequence[ChangedAccount]) -> Mapping[SetName, list[ChangedAccount]]:
        changed: dict[SetName, list[ChangedAccount]] = {}
        for account in accounts:
            id_ = account.account
            names = [
                SetName("prefix", id_[:length]) for length in self._by_prefix_length if length <= len(id_)
            ]
            names += [
                SetName("client", client)
                for client in (account.client_id, account.former_client)
                if client is not None
            ]
            for name in names:
                if name in self.channels:
                    changed.setdefault(name, []).append(account)
        return changed

    # --- Postgres

    def _request_read(self, channel: SetChannel) -> None:
        if read := channel.begin_read():
            self._effects.set_reads.append(read)

    def _request_stale(self) -> None:
        for channel in self.channels.values():
            if not channel.is_synced:
                self._request_read(channel)

    def is_current(self, read: SetRead) -> bool:
        """Returns whether the read is running, and not a read for earlier subscribers of this set."""
        channel = self.channels.get(read.name)
        return channel is not None and channel.is_current(read)

    def on_read(self, read: SetRead, state: SetState) -> None:
        """Takes the answer to a read."""
        if not self.is_current(read):
            return
        channel = self.channels[read.name]
        self._send(channel, channel.on_read(state))
        if state.wrong_lanes and len(state.members) <= self.max_accounts:  # otherwise not all were read
            self._effects.wrong_totals.append(read.name)

    def on_read_failed(self, read: SetRead) -> None:
        """Answers `unavailable` to clients that were sent nothing yet. The next tick reads again."""
        channel = self.channels.get(read.name)
        if channel is not None and channel.is_current(read):
            channel.on_read_failed()
            self._reject_unanswered(channel)

    def _reject_unanswered(self, channel: SetChannel) -> None:
        for subscription in list(self._subscriptions[channel.name]):
            if subscription.unanswered:
                self._reject(subscription.session, channel.name, "the database is unavailable; retry later")

    def followed(self, now: float) -> list[SetName]:
        """Returns the sets whose totals the projectors are asked to keep.

        Each is counted, and then work for every batch, so that a user has at most `KEPT_PER_USER`, with those
        that are not forgotten yet. The gateway alone adds up the others.
        """
        kept = {name: (user, at) for name, (user, at) in self._kept.items() if at > now - FORGOTTEN_AFTER}
        counts = Counter(user for user, _ in kept.values())
        names = list[SetName]()
        for name, channel in self.channels.items():
            if channel.epoch is None:
                continue  # it may have too many accounts
            user = kept[name][0] if name in kept else self._first_user(name)
            if user is None:
                continue  # its connections are lost, and it is about to be removed
            if name not in kept:
                if counts[user] >= KEPT_PER_USER:
                    continue
                counts[user] += 1
            kept[name] = user, now
            names.append(name)
        self._kept = kept
        return names

    def _first_user(self, name: SetName) -> str | None:
        all_rights = (subscription.session.rights for subscription in self._subscriptions[name])
        return next((rights.subject for rights in all_rights if rights), None)

    def begin_audit(self) -> None:
        """Called when the statement of an audit is about to run."""
        self._stream.begin_audit()

    def on_audit(self, finding: AuditFinding, now: float) -> None:
        """Compares the batches that arrived with those in Postgres, and reads the next set in turn."""
        self._stream.on_audit(finding.epoch, finding.lanes, finding.partitions, now)
        if self._is_subscribed and self._audited:
            name = next(iter(self._audited))
            self._audited.discard(name)
            self._audited.add(name)
            self._request_read(self.channels[name])

    def tick(self, now: float) -> None:
        """Handles timeouts, and reads sets that miss batches. Called at least twice a second."""
        self._stream.check_overdue(now - OVERDUE_AFTER)
        if self._is_subscribed:
            self._request_stale()
        for name, channel in list(self.channels.items()):
            if channel.epoch is None and channel.created_at < now - ANSWER_SECONDS:
                self._reject_unanswered(channel)
            for subscription in self._subscriptions.get(name, ()):
                if subscription.state is Stand.BEHIND:
                    self._effects.sessions_behind.add(subscription.session)

    # --- frames

    def _send(self, channel: SetChannel, outcome: Outcome) -> None:
        """Sends what an input changed, first ending the subscriptions that may not see it."""
        name = channel.name
        if outcome.differs:
            self._effects.opened_gaps.append("content")
        if len(channel.members) > self.max_accounts:
            for subscription in list(self._subscriptions[name]):
                self.end(subscription.session, name, "limit", f"more than {self.max_accounts} accounts")
            return
        for subscription in list(self._subscriptions[name]) if outcome.joined else ():
            self._end_if_hidden(subscription)
        for subscription in list(self._subscriptions.get(name, ())):
            if subscription.state is Stand.BEHIND:
                self._effects.sessions_behind.add(subscription.session)
            elif outcome.changed or outcome.replaced:
                self._send_in_step(subscription, outcome.frame)

    def _send_in_step(self, subscription: SetSubscription, frame: Frame | None) -> None:
        session = subscription.session
        self._effects.sessions_to_flush.add(session)
        if frame is None:
            subscription.state = Stand.BEHIND
            self._effects.sessions_behind.add(session)
        else:
            subscription.number = frame.after.revision
            if not session.outbox.put(frame):
                session.overflow()

    def fall_behind(self, subscription: SetSubscription, position: Position | None) -> None:
        """Continues at a position. Called when frames beyond it were dropped from the outbox."""
        subscription.state = Stand.BEHIND
        subscription.number, subscription.left_after = parse_position(position)
        self._effects.sessions_behind.add(subscription.session)

    def catch_up(self, session: Session) -> None:
        """Sends what the subscriptions of a session lack, as far as its outbox has room."""
        session.waits_for_room = False
        for subscription in list(session.sets.values()):
            if subscription.state is Stand.BEHIND and subscription.channel.epoch is not None:
                if subscription.unanswered and self._end_if_hidden(subscription):
                    continue
                self._send_pages(subscription)

    def _send_pages(self, subscription: SetSubscription) -> None:
        session, channel = subscription.session, subscription.channel
        while True:
            if subscription.lacks_everything:
                subscription.number = None
            reason: SetSnapshotReason | None = None
            if subscription.number is None:
                reason = "subscribed" if subscription.unanswered else "replaced"
                subscription.left_after = channel.members.newest
            frame = channel.page(subscription.number or 0, subscription.left_after, reason)
            if frame is None:
                break
            if not session.outbox.has_room(len(frame.text)):
                session.waits_for_room = session.outbox.writable
                session.outbox.needs_attention = True
                return
            if reason is not None:
                session.outbox.count(SessionEvent("snapshot", reason))
            session.outbox.put(frame)
            self._effects.sessions_to_flush.add(session)
            subscription.number, subscription.unanswered = frame.after.revision, False
        subscription.state = Stand.IN_STEP
        # Accounts that left until now were sent, or are unknown to the client.
        subscription.left_after = 0
