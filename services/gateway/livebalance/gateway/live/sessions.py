"""Clients: who each is and so may see, what it asks for, and what it is told beside its accounts.

As the hub, to which it leaves the accounts: it takes values and times, and what is to be done stands in the
hub's effects.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.limits.connections import Address, ConnectionLimiter, ConnectionLimits
from livebalance.gateway.live.collections import OrderedSet, TimerWheel
from livebalance.gateway.live.effects import Disconnect
from livebalance.gateway.live.hub import RETRY_MS, Hub
from livebalance.gateway.live.outbox import Outbox, SessionEvent
from livebalance.gateway.live.session import (
    NOT_AUTHENTICATED,
    TOO_FAST,
    Authenticate,
    Command,
    Session,
    SessionLimits,
    SubscribeAccount,
    UnsubscribeAccount,
)
from livebalance.gateway.live.subscribers import CatchUp
from livebalance.gateway.live.users import Users
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.close import CloseCode
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
from livebalance.wire.identity import AccountId, channel_name
from livebalance.wire.timestamp import Millis, format_rfc3339

WORDS = 256  # frames that are no data, waiting for one client; one with more is closed
EXPIRED = Disconnect(CloseCode.TOKEN_EXPIRED, "token_expired", 0)
REVOKED = Disconnect(CloseCode.REVOKED, "revoked")
AGED = Disconnect(CloseCode.GOODBYE, "age", 500)
AGE_SPREAD = 0.2  # of the age: who came together does not go together
LEAVE_WITHIN = 5.0  # seconds in which who has become old may go by itself
TOO_MANY = Disconnect(CloseCode.TOO_MANY_CONNECTIONS, "too_many_connections")


class SessionConfig(NamedTuple):
    """What this gateway tells each client in its welcome, and its bounds."""

    gateway: str
    version: str
    heartbeat_ms: int
    limits: Limits
    outbox_bytes: int
    house: ConnectionLimits = ConnectionLimits(20_000, 500, 200, 20)
    manners: SessionLimits = SessionLimits()
    per_user: int = 10  # sockets of one subject
    auth_within: float = 5.0  # seconds for a stranger to say who it is
    age: float | None = None  # seconds after which a client is asked to come back, perhaps elsewhere
    features: tuple[str, ...] = ()


class Sessions:
    def __init__(self, terms: SessionConfig, revocations: Revocations, hub: Hub) -> None:
        self.doorman = ConnectionLimiter(terms.house)
        self._terms = terms
        self._hub = hub
        self._effects = hub.effects
        self._revocations = revocations
        self._sessions: OrderedSet[Session] = OrderedSet()
        self._members = Users(terms.per_user)
        self._status: Status | None = None
        self._ages: TimerWheel[Session] = TimerWheel()
        self._leaving: deque[tuple[float, Session]] = (
            deque()
        )  # who has become old, and until when it may stay
        self._strangers: deque[tuple[float, Session]] = deque()  # until when each may be one
        self._beats: deque[tuple[float, Session]] = deque()  # who is due when; all wait equally long
        self._held: list[tuple[float, int, Session]] = []  # a heap of who may be written data when
        self._holds = 0

    # --- who is here

    def connect(self, name: str, address: Address, now: float, chance: float = 0.0) -> Session:
        """A client at `address`, which the doorman has admitted. It has to say who it is.

        `chance`, in [0, 1), tells apart the ages that those who came at once may reach.
        """
        terms = self._terms
        outbox = Outbox(terms.outbox_bytes)
        session = Session(name, address, outbox, terms.limits.subscriptions, terms.manners)
        self._sessions.add(session)
        self._strangers.append((now + terms.auth_within, session))
        if terms.age:
            session.age_slot = self._ages.put(session, now + terms.age * (1 - AGE_SPREAD * chance))
        return session

    def disconnect(self, session: Session) -> None:
        """Its connection is gone, or is being closed: nothing is sent to it any more."""
        if session not in self._sessions:
            return
        self._sessions.discard(session)
        if session.age_slot is not None:
            self._ages.take_out(session, session.age_slot)
        self._members.leave(session)
        for account in list(session.followers):
            self._hub.leave(session, account)
        self._effects.hungry.discard(session)

    def vouched(
        self, session: Session, request: RequestId | None, rights: Rights, now: float, wall: Millis
    ) -> None:
        """The token it showed is good, and gives it these rights."""
        if session not in self._sessions:
            return
        if self._revocations.revokes(rights):
            self.refused(session, REVOKED)
        elif request is None:
            self._admit(session, rights, now, wall)
        elif session.rights is None or session.rights.subject != rights.subject:
            self.refused(session, NOT_AUTHENTICATED)
        else:
            self._members.renew(session, rights, now, wall)
            self._leave_hidden(session)
            session.say(Ok(request))
            self._said(session)

    def _admit(self, session: Session, rights: Rights, now: float, wall: Millis) -> None:
        """A stranger; or one that a cookie let in, and whose first words are another token."""
        is_new = session.rights is None
        self._members.leave(session)
        if not self._members.enter(session, rights, now, wall):
            self.refused(session, TOO_MANY)
        elif is_new:
            self._welcome(session, rights, now, wall)

    def refused(self, session: Session, hangup: Disconnect) -> None:
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
                epoch=self._hub.epoch,
                server_time=format_rfc3339(wall),
                heartbeat_ms=terms.heartbeat_ms,
                limits=terms.limits,
                expires_at=format_rfc3339(rights.expires),
            )
        )
        if self._status:
            session.say(self._status)
        self._beats.append((now + terms.heartbeat_ms / 1000, session))
        self._effects.touched.add(session)

    def revoked(self, some: Iterable[Revocation]) -> None:
        """Taken back before its time: of sessions, and of accounts that sessions follow."""
        if not self._revocations.add(some):
            return
        for session in list(self._sessions):
            if session.rights and self._revocations.revokes(session.rights):
                self.refused(session, REVOKED)
            elif session.rights:
                self._leave_hidden(session)

    def _leave_hidden(self, session: Session) -> None:
        for account in list(session.followers):
            if not self._may_see(session, account):
                self._hub.leave(session, account)
                gone = Unsubscribed(channel_name(account), "revoked", "access to this account was revoked")
                session.say(gone)
                self._said(session)

    def _may_see(self, session: Session, account: AccountId) -> bool:
        rights = session.rights
        if rights is None or not rights.scope.covers(account):
            return False
        return not self._revocations.hides(rights, account)

    # --- what they ask for

    def receive(self, session: Session, text: bytes, now: float) -> None:
        """A text frame of the client."""
        for wish in session.receive(text, now):
            self._grant(session, wish, now)
        self._said(session)

    def _grant(self, session: Session, wish: Command, now: float) -> None:
        if isinstance(wish, SubscribeAccount):
            if self._may_see(session, wish.account):
                self._hub.follow(session, wish.account, wish.at, now)
            else:
                for consequence in session.no_access(wish.account, now):
                    self._grant(session, consequence, now)
        elif isinstance(wish, UnsubscribeAccount):
            if wish.account in session.followers:
                session.outbox.count(SessionEvent("unsubscribed", "client"))
                self._hub.leave(session, wish.account)
        elif isinstance(wish, Authenticate):
            self._effects.tokens.append((session, wish))
        elif wish.reason == TOO_FAST and self.doorman.strike(session.address, now):
            self._hang_up(session, Disconnect(CloseCode.ABUSE, "abuse"))
        else:
            self._hang_up(session, wish)

    # --- when they may be written to

    def writable(self, session: Session, writable: bool) -> None:
        """Whether the transport takes bytes."""
        session.outbox.writable = writable
        if writable and session in self._sessions:
            self._effects.touched.add(session)
            self._effects.hungry.add(session)

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
            if session in self._sessions:
                self._effects.touched.add(session)
                if session.outbox.writable:
                    _note(session)

    # --- what they are told

    def tell(self, status: Status) -> None:
        """To everyone, and to each who comes."""
        self._status = status
        self._say_all(status)

    def drain(self, within_ms: int) -> None:
        """Everyone is asked to leave."""
        self._say_all(Goaway("drain", within_ms))

    def _say_all(self, frame: ServerFrame) -> None:
        for session in list(self._sessions):
            if session.rights:
                session.say(frame)
                self._said(session)

    def _said(self, session: Session) -> None:
        self._effects.touched.add(session)
        if session.outbox.words > WORDS and not session.outbox.writable:
            self._hang_up(session, Disconnect(CloseCode.BUSY, "busy", RETRY_MS))

    def _hang_up(self, session: Session, hangup: Disconnect) -> None:
        self._effects.hangups.append((session, hangup))

    # --- time

    def tick(self, now: float, wall: Millis) -> None:
        """At least twice a second."""
        while self._strangers and self._strangers[0][0] <= now:
            _, session = self._strangers.popleft()
            if session in self._sessions and session.rights is None:
                self._hang_up(session, session.unwelcome)
        for session in list(self._members.due(now)):
            if session.ends <= now:
                self.refused(session, EXPIRED)
            elif session.rights:
                session.say(AuthExpiring(format_rfc3339(session.rights.expires)))
                self._said(session)
        self._retire(now)
        while self._beats and self._beats[0][0] <= now:
            _, session = self._beats.popleft()
            if session in self._sessions:
                self._beat(session, wall)
                self._beats.append((now + self._terms.heartbeat_ms / 1000, session))

    def _retire(self, now: float) -> None:
        """Who has become old is asked to go, and a little later is not asked."""
        for session in self._ages.due(now):
            if session.rights:
                session.say(Goaway("age", int(LEAVE_WITHIN * 1000)))
                self._said(session)
            self._leaving.append((now + LEAVE_WITHIN, session))
        while self._leaving and self._leaving[0][0] <= now:
            _, session = self._leaving.popleft()
            if session in self._sessions:
                self._hang_up(session, AGED)

    def _beat(self, session: Session, wall: Millis) -> None:
        as_of = _complete_as_of(session)
        told = None if as_of is None else format_rfc3339(as_of)
        session.beat(Heartbeat(format_rfc3339(wall), told))
        self._effects.touched.add(session)


def _note(session: Session) -> None:
    """All that waits for it is with its transport, or will be before anything else is said."""
    for follower in session.followers.values():
        if follower.step is CatchUp.IN_STEP:
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
