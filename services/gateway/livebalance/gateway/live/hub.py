"""Accounts that clients here follow: a delta in, frames in outboxes out.

It takes values and times, and returns nothing: what is to be done stands in `effects`.
"""

from collections.abc import Iterable, Mapping

from livebalance.gateway.live.channel import Claim
from livebalance.gateway.live.collections import OrderedSet
from livebalance.gateway.live.effects import AccountRead, Effects
from livebalance.gateway.live.history import History
from livebalance.gateway.live.recovery import recover
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.subscribers import CatchUp, Subscribers
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState, AuditFinding
from livebalance.wire.delta import Delta
from livebalance.wire.identity import AccountId, Epoch, Position
from livebalance.wire.timestamp import Millis

ACK_WITHIN = 5.0  # seconds; a client that waits longer for Redis is told to ask again
PATIENCE = 0.4  # seconds a delta may be on its way after an audit saw its commit
RETRY_MS = 1000


class Hub:
    def __init__(self, resume_max: int, trail_bytes: int) -> None:
        self.effects = Effects()
        self.trail = History(trail_bytes)
        self.audiences: dict[AccountId, Subscribers] = {}
        self.epoch: Epoch | None = None  # the newest that was read
        self._resume_max = resume_max
        self._unacked: OrderedSet[Subscribers] = OrderedSet()
        self._claims: OrderedSet[Subscribers] = OrderedSet()

    def take(self) -> Effects:
        """What is to be done since it was last asked."""
        work = self.effects
        while work.hungry or work.unread:
            while work.hungry:
                _feed(work.hungry.last())
            while work.unread:
                work.unread.last().begin()
        return work.take()

    # --- who follows

    def follow(self, session: Session, account: AccountId, at: Position | None, now: float) -> None:
        """Anew if it is followed already: then the client lost its place."""
        audience = self.audiences.get(account)
        if audience is None:
            audience = Subscribers(account, self.effects, self.trail, self._resume_max, now)
            self.audiences[account] = audience
            self._unacked.add(audience)
            self.effects.subscriptions[account] = True
        session.outbox.beat(b"")  # one that waits claims nothing of this account, and would seem to
        if mine := session.followers.get(account):
            session.outbox.forget(account)
            audience.leave(mine)
        audience.join(session, at)

    def leave(self, session: Session, account: AccountId) -> None:
        if mine := session.followers.get(account):
            session.outbox.forget(account)
            mine.audience.leave(mine)
            self._close_if_empty(mine.audience)

    def _close_if_empty(self, audience: Subscribers) -> None:
        account = audience.channel.account
        if audience.size == 0 and self.audiences.get(account) is audience:
            del self.audiences[account]
            self._unacked.discard(audience)
            self._claims.discard(audience)
            self.effects.unread.discard(audience)
            self.effects.subscriptions[account] = False

    # --- Redis

    def acked(self, account: AccountId) -> None:
        """Redis acknowledged: from now on deltas of the account come."""
        if audience := self.audiences.get(account):
            audience.channel.subscribed = True
            self._unacked.discard(audience)
            self.effects.unread.add(audience)

    def delta(self, account: AccountId, delta: Delta) -> None:
        if audience := self.audiences.get(account):
            audience.delta(delta)
            if delta.gone:
                self._close_if_empty(audience)

    # --- Postgres

    def answered(self, read: AccountRead, found: Mapping[Position | None, AccountState], now: float) -> None:
        """What was read of an account, for each of `read.afters`, at one moment."""
        audience = self.audiences.get(read.account)
        if audience is None or not audience.is_reading(read):
            return
        answers = {after: recover(AccountQuery(read.account, after), one) for after, one in found.items()}
        self.epoch = next(iter(found.values())).epoch
        audience.answered(answers, now)
        self._claimed(audience)
        self._close_if_empty(audience)

    def failed(self, read: AccountRead, retry_after_ms: int) -> None:
        """Postgres could not be asked: who has nothing yet is told to come back, the others are kept."""
        audience = self.audiences.get(read.account)
        if audience and audience.is_reading(read):
            audience.failed(retry_after_ms)
            self._close_if_empty(audience)

    def positions(self, accounts: Iterable[AccountId]) -> dict[AccountId, Position]:
        """Where those of `accounts` are that are followed and were read: what an audit is to check."""
        followed = (self.audiences.get(account) for account in accounts)
        return {one.channel.account: one.channel.at for one in followed if one and one.channel.at}

    def audited(self, asked: Mapping[AccountId, Position], finding: AuditFinding, now: float) -> None:
        """What Postgres said of channels that were at `asked` when it was asked (design: audit)."""
        self.epoch = finding.epoch
        oldest = _oldest(finding)
        for account, at in asked.items():
            audience = self.audiences.get(account)
            if audience is None:
                continue
            lane = finding.lanes.get(audience.channel.lane) if audience.channel.lane is not None else None
            truth = Position(finding.epoch, finding.revisions.get(account, at.revision))
            audience.channel.audited(at, Claim(truth, lane.as_of if lane else oldest, now))
            self._claimed(audience)

    def _claimed(self, audience: Subscribers) -> None:
        if audience.channel.hole:
            self.effects.unread.add(audience)
        elif audience.channel.claim:
            self._claims.add(audience)

    # --- time

    def tick(self, now: float) -> None:
        """At least twice a second."""
        self.trail.now = now
        for audience in [one for one in self._unacked if one.channel.since < now - ACK_WITHIN]:
            audience.refuse_fresh(RETRY_MS)
            self._close_if_empty(audience)
        for audience in list(self._claims):
            if audience.channel.overdue(now - PATIENCE):
                self.effects.unread.add(audience)
            if audience.channel.hole or not audience.channel.claim:
                self._claims.discard(audience)


def _feed(session: Session) -> None:
    """Begins reads for followers that are behind, in turn, as far as there is room for what they bring."""
    while session.behind and session.has_room:
        follower = session.behind.popleft()
        if follower.step is CatchUp.BEHIND:
            follower.audience.read_for(follower)


def _oldest(finding: AuditFinding) -> Millis | None:
    """For an account that has no lane yet: complete as of the oldest lane, if every lane is there."""
    as_of = [lane.as_of for lane in finding.lanes.values() if lane.as_of is not None]
    return min(as_of) if as_of and len(as_of) == finding.partitions else None
