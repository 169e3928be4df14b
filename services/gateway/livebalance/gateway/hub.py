"""Channels and sessions: a delta in, frames in outboxes out. All that happens to a gateway happens here.

It takes values and times, and returns nothing: what is to be done stands in `effects`.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from livebalance.gateway.answer import answer
from livebalance.gateway.audience import Audience
from livebalance.gateway.channel import Claim
from livebalance.gateway.doorman import Address, Doorman, House
from livebalance.gateway.effects import Effects, Hangup, Read
from livebalance.gateway.follower import Step
from livebalance.gateway.members import Members
from livebalance.gateway.outbox import Note, Outbox
from livebalance.gateway.revocations import Revocations
from livebalance.gateway.rights import Rights
from livebalance.gateway.roll import Roll
from livebalance.gateway.session import STRANGER, TOO_FAST, Follow, Leave, Manners, Present, Session, Wish
from livebalance.gateway.trail import Trail
from livebalance.readmodel.reads import Asked, Finding, Found
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.close import Close
from livebalance.wire.delta import Delta
from livebalance.wire.frame import (
    AuthExpiring,
    Goaway,
    Heartbeat,
    Limits,
    Ok,
    RequestId,
    ServerFrame,
    Status,
    Unsubscribed,
    Welcome,
)
from livebalance.wire.identity import AccountId, Epoch, Position, channel_name
from livebalance.wire.instant import Millis, rfc3339

ACK_WITHIN = 5.0  # seconds; a client that waits longer for Redis is told to ask again
PATIENCE = 0.4  # seconds a delta may be on its way after an audit saw its commit
WORDS = 256  # frames that are no data, waiting for one client; one with more is closed
RETRY_MS = 1000
EXPIRED = Hangup(Close.TOKEN_EXPIRED, "token_expired", 0)
REVOKED = Hangup(Close.REVOKED, "revoked")
TOO_MANY = Hangup(Close.TOO_MANY_CONNECTIONS, "too_many_connections")


class Terms(NamedTuple):
    """What this gateway tells each client in its welcome, and its bounds."""

    gateway: str
    version: str
    heartbeat_ms: int
    limits: Limits
    outbox_bytes: int
    house: House = House(20_000, 500, 200, 20)
    manners: Manners = Manners()
    per_user: int = 10  # sockets of one subject
    auth_within: float = 5.0  # seconds for a stranger to say who it is
    features: tuple[str, ...] = ()
    trail_bytes: int = 64 * 1024 * 1024


class Hub:
    def __init__(self, terms: Terms, revocations: Revocations) -> None:
        self.effects = Effects()
        self.doorman = Doorman(terms.house)
        self.members = Members(terms.per_user)
        self.sessions: Roll[Session] = Roll()
        self.revocations = revocations
        self.trail = Trail(terms.trail_bytes)
        self.audiences: dict[AccountId, Audience] = {}
        self.epoch: Epoch | None = None  # the newest that was read
        self._terms = terms
        self._status: Status | None = None
        self._strangers: deque[tuple[float, Session]] = deque()  # until when each may be one
        self._beats: deque[tuple[float, Session]] = deque()  # who is due when; all wait equally long
        self._held: list[tuple[float, int, Session]] = []  # a heap of who may be written data when
        self._holds = 0
        self._unacked: Roll[Audience] = Roll()
        self._claims: Roll[Audience] = Roll()

    def take(self) -> Effects:
        """What is to be done since it was last asked."""
        work = self.effects
        while work.hungry or work.unread:
            while work.hungry:
                _feed(work.hungry.last())
            while work.unread:
                work.unread.last().begin()
        return work.take()

    # --- clients

    def connect(self, name: str, address: Address, now: float) -> Session:
        """A client at `address`, which the doorman has admitted. It has to say who it is."""
        terms = self._terms
        outbox = Outbox(terms.outbox_bytes)
        session = Session(name, address, outbox, terms.limits.subscriptions, terms.manners)
        self.sessions.add(session)
        self._strangers.append((now + terms.auth_within, session))
        return session

    def vouched(
        self, session: Session, request: RequestId | None, rights: Rights, now: float, wall: Millis
    ) -> None:
        """The token it showed is good, and gives it these rights."""
        if session not in self.sessions:
            return
        if self.revocations.ended(rights):
            self.refused(session, REVOKED)
        elif request is None:
            self._admit(session, rights, now, wall)
        elif session.rights is None or session.rights.subject != rights.subject:
            self.refused(session, STRANGER)
        else:
            self.members.renew(session, rights, now, wall)
            self._leave_hidden(session)
            session.say(Ok(request))
            self._said(session)

    def _admit(self, session: Session, rights: Rights, now: float, wall: Millis) -> None:
        """A stranger; or one that a cookie let in, and whose first words are another token."""
        is_new = session.rights is None
        self.members.leave(session)
        if not self.members.enter(session, rights, now, wall):
            self.refused(session, TOO_MANY)
        elif is_new:
            self._welcome(session, rights, now, wall)

    def refused(self, session: Session, hangup: Hangup) -> None:
        """What its token was not: nothing that waits for it is sent any more."""
        session.outbox.forget_all()
        self._hang_up(session, hangup)

    def _welcome(self, session: Session, rights: Rights, now: float, wall: Millis) -> None:
        terms = self._terms
        session.say(
            Welcome(
                session=session.name,
                gateway=terms.gateway,
                version=terms.version,
                features=list(terms.features),
                epoch=self.epoch,
                server_time=rfc3339(wall),
                heartbeat_ms=terms.heartbeat_ms,
                limits=terms.limits,
                expires_at=rfc3339(rights.expires),
            )
        )
        if self._status:
            session.say(self._status)
        self._beats.append((now + terms.heartbeat_ms / 1000, session))
        self.effects.touched.add(session)

    def revoked(self, some: Iterable[Revocation]) -> None:
        """Taken back before its time: of sessions, and of accounts that sessions follow."""
        if not self.revocations.add(some):
            return
        for session in list(self.sessions):
            if session.rights and self.revocations.ended(session.rights):
                self.refused(session, REVOKED)
            elif session.rights:
                self._leave_hidden(session)

    def _leave_hidden(self, session: Session) -> None:
        for account in list(session.followers):
            if not self._may_see(session, account):
                self._leave(session, account)
                gone = Unsubscribed(channel_name(account), "revoked", "access to this account was revoked")
                session.say(gone)
                self._said(session)

    def _may_see(self, session: Session, account: AccountId) -> bool:
        rights = session.rights
        if rights is None or not rights.scope.covers(account):
            return False
        return not self.revocations.hide(rights, account)

    def disconnect(self, session: Session) -> None:
        """Its connection is gone, or is being closed: nothing is sent to it any more."""
        if session not in self.sessions:
            return
        self.sessions.discard(session)
        self.members.leave(session)
        for account in list(session.followers):
            self._leave(session, account)
        self.effects.hungry.discard(session)

    def receive(self, session: Session, text: bytes, now: float) -> None:
        """A text frame of the client."""
        for wish in session.receive(text, now):
            self._grant(session, wish, now)
        self._said(session)

    def _grant(self, session: Session, wish: Wish, now: float) -> None:
        if isinstance(wish, Follow):
            if self._may_see(session, wish.account):
                self._follow(session, wish.account, wish.at, now)
            else:
                for consequence in session.no_access(wish.account, now):
                    self._grant(session, consequence, now)
        elif isinstance(wish, Leave):
            if wish.account in session.followers:
                session.outbox.count(Note("unsubscribed", "client"))
                self._leave(session, wish.account)
        elif isinstance(wish, Present):
            self.effects.tokens.append((session, wish))
        elif wish.reason == TOO_FAST and self.doorman.strike(session.address, now):
            self._hang_up(session, Hangup(Close.ABUSE, "abuse"))
        else:
            self._hang_up(session, wish)

    def writable(self, session: Session, writable: bool) -> None:
        """Whether the transport takes bytes."""
        session.outbox.writable = writable
        if writable and session in self.sessions:
            self.effects.touched.add(session)
            self.effects.hungry.add(session)

    def hold(self, session: Session) -> None:
        """Its client wants data less often: those that wait are due later."""
        if not session.held:
            session.held = True
            self._holds += 1
            heapq.heappush(self._held, (session.outbox.due, self._holds, session))

    @property
    def due(self) -> float | None:
        """When `release` has something to do."""
        return self._held[0][0] if self._held else None

    def release(self, now: float) -> None:
        """Those whose data are due are to be written to."""
        while self._held and self._held[0][0] <= now:
            _, _, session = heapq.heappop(self._held)
            session.held = False
            if session in self.sessions:
                self.effects.touched.add(session)
                if session.outbox.writable:
                    _note(session)

    def tell(self, status: Status) -> None:
        """To everyone, and to each who comes."""
        self._status = status
        self._say_all(status)

    def drain(self, within_ms: int) -> None:
        """Everyone is asked to leave."""
        self._say_all(Goaway("drain", within_ms))

    def _say_all(self, frame: ServerFrame) -> None:
        for session in list(self.sessions):
            if session.rights:
                session.say(frame)
                self._said(session)

    def _said(self, session: Session) -> None:
        self.effects.touched.add(session)
        if session.outbox.words > WORDS and not session.outbox.writable:
            self._hang_up(session, Hangup(Close.BUSY, "busy", RETRY_MS))

    def _hang_up(self, session: Session, hangup: Hangup) -> None:
        self.effects.hangups.append((session, hangup))

    def _follow(self, session: Session, account: AccountId, at: Position | None, now: float) -> None:
        """Anew if it is followed already: then the client lost its place."""
        audience = self.audiences.get(account)
        if audience is None:
            resume_max = self._terms.limits.resume_max
            audience = Audience(account, self.effects, self.trail, resume_max, now)
            self.audiences[account] = audience
            self._unacked.add(audience)
            self.effects.subscriptions[account] = True
        session.outbox.beat(b"")  # one that waits claims nothing of this account, and would seem to
        if mine := session.followers.get(account):
            session.outbox.forget(account)
            audience.leave(mine)
        audience.join(session, at)

    def _leave(self, session: Session, account: AccountId) -> None:
        if mine := session.followers.get(account):
            session.outbox.forget(account)
            mine.audience.leave(mine)
            self._close_if_empty(mine.audience)

    def _close_if_empty(self, audience: Audience) -> None:
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

    def answered(self, read: Read, found: Mapping[Position | None, Found], now: float) -> None:
        """What was read of an account, for each of `read.afters`, at one moment."""
        audience = self.audiences.get(read.account)
        if audience is None or not audience.is_reading(read):
            return
        answers = {after: answer(Asked(read.account, after), one) for after, one in found.items()}
        self.epoch = next(iter(found.values())).epoch
        audience.answered(answers, now)
        self._claimed(audience)
        self._close_if_empty(audience)

    def failed(self, read: Read, retry_after_ms: int) -> None:
        """Postgres could not be asked: who has nothing yet is told to come back, the others are kept."""
        audience = self.audiences.get(read.account)
        if audience and audience.is_reading(read):
            audience.failed(retry_after_ms)
            self._close_if_empty(audience)

    def positions(self, accounts: Iterable[AccountId]) -> dict[AccountId, Position]:
        """Where those of `accounts` are that are followed and were read: what an audit is to check."""
        followed = (self.audiences.get(account) for account in accounts)
        return {one.channel.account: one.channel.at for one in followed if one and one.channel.at}

    def audited(self, asked: Mapping[AccountId, Position], finding: Finding, now: float) -> None:
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

    def _claimed(self, audience: Audience) -> None:
        if audience.channel.hole:
            self.effects.unread.add(audience)
        elif audience.channel.claim:
            self._claims.add(audience)

    # --- time

    def tick(self, now: float, wall: Millis) -> None:
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
        while self._strangers and self._strangers[0][0] <= now:
            _, session = self._strangers.popleft()
            if session in self.sessions and session.rights is None:
                self._hang_up(session, session.unwelcome)
        for session in list(self.members.due(now)):
            if session.ends <= now:
                self.refused(session, EXPIRED)
            elif session.rights:
                session.say(AuthExpiring(rfc3339(session.rights.expires)))
                self._said(session)
        while self._beats and self._beats[0][0] <= now:
            _, session = self._beats.popleft()
            if session in self.sessions:
                self._beat(session, wall)
                self._beats.append((now + self._terms.heartbeat_ms / 1000, session))

    def _beat(self, session: Session, wall: Millis) -> None:
        as_of = _complete_as_of(session)
        told = None if as_of is None else rfc3339(as_of)
        session.beat(Heartbeat(rfc3339(wall), told))
        self.effects.touched.add(session)


def _feed(session: Session) -> None:
    """Begins reads for followers that are behind, in turn, as far as there is room for what they bring."""
    while session.behind and session.has_room:
        follower = session.behind.popleft()
        if follower.step is Step.BEHIND:
            follower.audience.read_for(follower)


def _note(session: Session) -> None:
    """All that waits for it is with its transport, or will be before anything else is said."""
    for follower in session.followers.values():
        if follower.step is Step.IN_STEP:
            follower.as_of = follower.audience.channel.as_of


def _complete_as_of(session: Session) -> Millis | None:
    """The oldest of all it follows. More is claimed only once all was sent; else it stays as it was."""
    if session.outbox.empty:
        _note(session)
    oldest: Millis | None = None
    for follower in session.followers.values():
        if follower.as_of is None:
            return None
        oldest = follower.as_of if oldest is None else min(oldest, follower.as_of)
    return oldest


def _oldest(finding: Finding) -> Millis | None:
    """For an account that has no lane yet: complete as of the oldest lane, if every lane is there."""
    as_of = [lane.as_of for lane in finding.lanes.values() if lane.as_of is not None]
    return min(as_of) if as_of and len(as_of) == finding.partitions else None
