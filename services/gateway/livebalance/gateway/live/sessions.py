"""All sessions of a gateway: admission, authentication, requests, heartbeats, and when each session ends.

Pure, like the hub: sessions take values and times, and what is to be done is collected in the hub's effects.
"""

import heapq
from collections.abc import Collection, Iterable
from math import inf
from typing import NamedTuple

from livebalance.gateway.auth.revocations import Revocations, holders
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.limits.connections import ConnectionLimiter, ConnectionLimits
from livebalance.gateway.live.collections import OrderedSet
from livebalance.gateway.live.deadlines import Deadline, Deadlines
from livebalance.gateway.live.effects import Disconnect
from livebalance.gateway.live.hub import RETRY_AFTER_MS, Hub
from livebalance.gateway.live.outbox import Outbox, SessionEvent
from livebalance.gateway.live.session import (
    NOT_AUTHENTICATED,
    RATE_LIMITED,
    Authenticate,
    Command,
    Session,
    SessionLimits,
    SubscribeAccount,
    SubscribeSet,
    UnsubscribeAccount,
    UnsubscribeSet,
)
from livebalance.gateway.live.sets.subscription import Stand
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
    encode_frame,
)
from livebalance.wire.identity import AccountId, channel_name
from livebalance.wire.timestamp import Millis, format_rfc3339

MAX_CONTROL_MESSAGES = 256  # that may wait for a client, before it is disconnected
EXPIRED = Disconnect(CloseCode.TOKEN_EXPIRED, "token_expired", 0)
REVOKED = Disconnect(CloseCode.REVOKED, "revoked")
AGED = Disconnect(CloseCode.GOODBYE, "age", 500)
AGE_SPREAD = 0.2  # share of the maximum age that is random: clients that came together leave one by one
RESCHEDULE_SECONDS = 1.0
CONFIRM_SECONDS = 1.0  # from a resume to a heartbeat: unlike a snapshot, the answer to it has no `as_of`
AGE_GRACE = 5.0  # seconds for an aged client to reconnect by itself
TOO_MANY = Disconnect(CloseCode.TOO_MANY_CONNECTIONS, "too_many_connections")


class SessionConfig(NamedTuple):
    """What the welcome of each session says, and the limits of sessions. Times are in seconds."""

    gateway: str
    version: str
    heartbeat_ms: int
    limits: Limits
    client_queue_bytes: int
    connection_limits: ConnectionLimits = ConnectionLimits(20_000, 500, 200, 20)
    session_limits: SessionLimits = SessionLimits()
    max_connections_per_user: int = 10
    auth_timeout: float = 5.0
    max_age: float | None = None  # None: sessions may stay for ever
    check_interval: float = 20.0  # between two checks that a client still answers
    features: tuple[str, ...] = ()


class Sessions:
    """Registry of the sessions. Inputs come from connections, tokens, operators and time."""

    def __init__(self, config: SessionConfig, revocations: Revocations, hub: Hub) -> None:
        self.limiter = ConnectionLimiter(config.connection_limits)
        self._config = config
        self._hub = hub
        hub.sets.hidden_accounts = self._hidden_accounts
        self._effects = hub.effects
        self._revocations = revocations
        self._sessions: OrderedSet[Session] = OrderedSet()
        self._deadlines: Deadlines[Session] = Deadlines()
        self._users = Users(config.max_connections_per_user, self._deadlines)
        self._status: Status | None = None
        self._heartbeats: dict[Millis | None, bytes] = {}  # of a tick, by `as_of`
        self._scheduled: list[tuple[float, int, Session]] = []  # heap: sessions whose data is due later
        self._schedule_count = 0  # breaks ties in the heap

    # --- connections

    def connect(self, name: str, address: Address, now: float, jitter: float = 0.0) -> Session:
        """Returns a new session of an unauthenticated client, which `limiter` has admitted.

        `jitter`, in [0, 1), shortens the maximum age by up to `AGE_SPREAD`.
        """
        config = self._config
        outbox = Outbox(config.client_queue_bytes)
        limits, sets = config.limits.subscriptions, config.limits.sets or 0
        session = Session(name, address, outbox, limits, config.session_limits, max_sets=sets)
        self._sessions.add(session)
        self._deadlines.set(session, Deadline.AUTHENTICATE, now + config.auth_timeout)
        self._deadlines.set(session, Deadline.CHECK, now + config.check_interval)
        if config.max_age:
            age = config.max_age * (1 - AGE_SPREAD * jitter)
            self._deadlines.set(session, Deadline.AGE, now + age)
        return session

    def leave(self, session: Session) -> None:
        """Ends the rights and deadlines of a session whose connection is gone. `disconnect` follows."""
        self._users.remove(session)
        self._deadlines.remove(session)
        session.outbox.writable = False  # no read begins for it any more

    def disconnect(self, session: Session) -> None:
        """Removes a session and its subscriptions."""
        if session not in self._sessions:
            return
        self._sessions.discard(session)
        self.leave(session)
        for account in list(session.subscriptions):
            self._hub.unsubscribe(session, account)
        for name_of_set in list(session.sets):
            self._hub.sets.unsubscribe(session, name_of_set)
        self._effects.sessions_behind.discard(session)

    def authorize(
        self, session: Session, request: RequestId | None, rights: Rights, now: float, wall: Millis
    ) -> None:
        """Gives a session the rights of a valid token.

        `request` is the id of a `refresh`, which must name the same user; None for a session's first token.
        """
        if session not in self._sessions:
            return
        if self._revocations.revokes(rights):
            self.reject(session, REVOKED)
        elif request is None:
            self._admit(session, rights, now, wall)
        elif session.rights is None or session.rights.subject != rights.subject:
            self.reject(session, NOT_AUTHENTICATED)
        else:
            self._users.renew(session, rights, now, wall)
            self._unsubscribe_hidden(session)
            session.send(Ok(request))
            self._mark_to_flush(session)

    def _admit(self, session: Session, rights: Rights, now: float, wall: Millis) -> None:
        """Admits a new session, or a session whose first message replaces the token of its cookie."""
        is_new = session.rights is None
        self._users.remove(session)
        if not self._users.add(session, rights, now, wall):
            self.reject(session, TOO_MANY)
        elif is_new:
            self._welcome(session, rights, now, wall)

    def reject(self, session: Session, disconnect: Disconnect) -> None:
        """Disconnects a session whose token is not, or no longer, valid. Waiting data is dropped."""
        session.outbox.drop_data()
        self._disconnect(session, disconnect)

    def _welcome(self, session: Session, rights: Rights, now: float, wall: Millis) -> None:
        config = self._config
        session.send(
            Welcome(
                session=session.name,
                gateway=config.gateway,
                version=config.version,
                features=list(config.features),
                epoch=self._hub.epoch,
                server_time=format_rfc3339(wall),
                heartbeat_ms=config.heartbeat_ms,
                limits=config.limits,
                expires_at=format_rfc3339(rights.expires),
            )
        )
        if self._status:
            session.send(self._status)
        self._deadlines.set(session, Deadline.AUTHENTICATE, inf)
        self._deadlines.set(session, Deadline.HEARTBEAT, now + config.heartbeat_ms / 1000)
        self._deadlines.set(session, Deadline.CHECK, now + config.check_interval)  # with the second heartbeat
        self._effects.sessions_to_flush.add(session)

    def revoke(self, revocations: Iterable[Revocation]) -> None:
        """Applies new revocations: disconnects revoked sessions, unsubscribes accounts that they hide."""
        new = {(revocation.subject, revocation.login) for revocation in self._revocations.add(revocations)}
        for session in list(self._sessions) if new else ():
            if session.rights is None or new.isdisjoint(holders(session.rights)):
                continue
            if self._revocations.revokes(session.rights):
                self.reject(session, REVOKED)
            else:
                self._unsubscribe_hidden(session)

    def reject_all(self, disconnect: Disconnect) -> None:
        """Disconnects all sessions, and drops the data that waits for them."""
        for session in list(self._sessions):
            self.reject(session, disconnect)

    def _unsubscribe_hidden(self, session: Session) -> None:
        for account in list(session.subscriptions):
            if not self._may_see(session, account):
                self._hub.unsubscribe(session, account)
                session.send(
                    Unsubscribed(channel_name(account), "revoked", "access to this account was revoked")
                )
                self._mark_to_flush(session)
        for name in list(session.sets):
            if session.rights and not session.rights.scope.covers_set(name):
                self._hub.sets.end(session, name, "revoked", "access to this set was revoked")
        self._hub.sets.hide(session)

    def _hidden_accounts(self, session: Session) -> Collection[AccountId]:
        return self._revocations.hidden_accounts(session.rights) if session.rights else ()

    def _may_see(self, session: Session, account: AccountId) -> bool:
        rights = session.rights
        if rights is None or not rights.scope.covers(account):
            return False
        return not self._revocations.hides(rights, account)

    # --- requests

    def receive(self, session: Session, text: bytes, now: float) -> None:
        """Executes a message of a client."""
        executed = [self._execute(session, command, now) for command in session.receive(text, now)]
        denied = [channel for channel in executed if channel]
        for channel in denied:
            session.deny_access(channel)
        for consequence in session.count_error(now) if denied else ():
            self._execute(session, consequence, now)
        self._mark_to_flush(session)

    def _execute(self, session: Session, command: Command, now: float) -> str | None:
        """Executes a command. Returns the channel that the client has no access to, if it asks for such."""
        if isinstance(command, SubscribeAccount):
            account, position, wants_patches = command
            if not self._may_see(session, account):
                return channel_name(account)
            self._hub.subscribe(session, account, position, now, wants_patches=wants_patches)
            if position is not None:
                self._confirm(session, now + CONFIRM_SECONDS)
        elif isinstance(command, SubscribeSet):
            if not session.rights or not session.rights.scope.covers_set(command.name):
                return command.name.channel
            self._hub.sets.subscribe(session, command.name, now)
            self._confirm(session, now + CONFIRM_SECONDS)
        elif isinstance(command, UnsubscribeSet):
            if command.name in session.sets:
                session.outbox.count(SessionEvent("unsubscribed", "client"))
                self._hub.sets.unsubscribe(session, command.name)
        elif isinstance(command, UnsubscribeAccount):
            if command.account in session.subscriptions:
                session.outbox.count(SessionEvent("unsubscribed", "client"))
                self._hub.unsubscribe(session, command.account)
        elif isinstance(command, Authenticate):
            self._effects.tokens_to_check.append((session, command))
        elif command.reason == RATE_LIMITED and self.limiter.strike(session.address, now):
            self._disconnect(session, Disconnect(CloseCode.ABUSE, "abuse"))
        else:
            self._disconnect(session, command)
        return None

    # --- the transport

    def set_writable(self, session: Session, writable: bool) -> None:
        """Sets whether the transport of a session accepts bytes."""
        session.outbox.writable = writable
        if writable and session in self._sessions:
            self._effects.sessions_to_flush.add(session)
            self._effects.sessions_behind.add(session)
        elif not session.outbox.fit():
            session.overflow()

    def schedule(self, session: Session, now: float) -> None:
        """Flushes the session when its delayed data is due, and continues with sets that wait for room.

        The client may ask for a higher rate meanwhile, so each wait is at most `RESCHEDULE_SECONDS`.
        """
        if not session.is_scheduled or session.waits_for_room:
            session.is_scheduled = True
            self._schedule_count += 1
            due = now if session.waits_for_room else min(session.outbox.due, now + RESCHEDULE_SECONDS)
            heapq.heappush(self._scheduled, (due, self._schedule_count, session))

    @property
    def due(self) -> float | None:
        """Time of the next scheduled flush, in monotonic seconds; None: no flush is scheduled."""
        return self._scheduled[0][0] if self._scheduled else None

    def flush_due(self, now: float) -> list[Session]:
        """Flushes the scheduled sessions that are due, and returns them. `flushed` follows."""
        flushed = list[Session]()
        while self._scheduled and self._scheduled[0][0] <= now:
            _, _, session = heapq.heappop(self._scheduled)
            session.is_scheduled = False
            if session in self._sessions:
                self._effects.sessions_to_flush.add(session)
                self._effects.sessions_behind.add(session)
                flushed.append(session)
        return flushed

    def flushed(self, sessions: Iterable[Session]) -> None:
        """Takes over `as_of` for sessions whose data was written. By their next heartbeat, more may wait."""
        for session in sessions:
            if session.outbox.is_empty:
                _update_as_of(session)

    # --- messages to all clients

    def set_status(self, status: Status) -> None:
        """Sends the status to all sessions, and to each that connects later.

        A pipeline that is live again has confirmed all data, so that a heartbeat follows.
        """
        self._status = status
        self._send_all(status)
        if status.state == "live":
            for session in self._sessions:
                if session.rights:
                    self._confirm(session, 0.0)

    def announce_drain(self, within_ms: int) -> None:
        """Asks all clients to reconnect elsewhere within the time."""
        self._send_all(Goaway("drain", within_ms))

    def _send_all(self, frame: ServerFrame) -> None:
        for session in list(self._sessions):
            if session.rights:
                session.send(frame)
                self._mark_to_flush(session)

    def _mark_to_flush(self, session: Session) -> None:
        """Marks a session to be flushed. Disconnects a client that sends requests but reads no answers."""
        self._effects.sessions_to_flush.add(session)
        if session.outbox.control_messages > MAX_CONTROL_MESSAGES and not session.outbox.writable:
            self._disconnect(session, Disconnect(CloseCode.BUSY, "busy", RETRY_AFTER_MS))

    def _disconnect(self, session: Session, disconnect: Disconnect) -> None:
        self._effects.disconnects.append((session, disconnect))

    # --- time

    def check_later(self, session: Session, due: float) -> None:
        """Checks at that time that the client still answers. Called after each check."""
        if session in self._sessions:
            self._deadlines.set(session, Deadline.CHECK, due)

    def _confirm(self, session: Session, due: float) -> None:
        """Sends a heartbeat out of turn at that time, if none is due earlier."""
        if due < session.deadlines[Deadline.CONFIRM]:
            self._deadlines.set(session, Deadline.CONFIRM, due)

    def tick(self, now: float, wall: Millis) -> None:
        """Handles timeouts and sends heartbeats. Called at least twice a second."""
        self._heartbeats.clear()
        interval = self._config.heartbeat_ms / 1000
        for session, deadline, due in self._deadlines.pop_due(now):
            if deadline is Deadline.HEARTBEAT:
                self._send_heartbeat(session, wall)
                self._deadlines.set(session, deadline, max(due + interval, now))
            elif deadline is Deadline.CHECK:
                self._effects.sessions_to_check.append((session, due))
            else:
                self._handle_deadline(session, deadline, now, wall)

    def _handle_deadline(self, session: Session, deadline: Deadline, now: float, wall: Millis) -> None:
        match deadline:
            case Deadline.CONFIRM:
                self._send_heartbeat(session, wall)
            case Deadline.AUTHENTICATE:
                self._disconnect(session, session.auth_error)
            case Deadline.WARN:
                self._warn(session)
            case Deadline.EXPIRE:
                self.reject(session, EXPIRED)
            case Deadline.AGE:
                if session.rights:
                    session.send(Goaway("age", int(AGE_GRACE * 1000)))
                    self._mark_to_flush(session)
                self._deadlines.set(session, Deadline.LEAVE, now + AGE_GRACE)
            case Deadline.LEAVE:
                self._disconnect(session, AGED)

    def _warn(self, session: Session) -> None:
        if session.rights and session.deadlines[Deadline.EXPIRE] != inf:
            session.send(AuthExpiring(format_rfc3339(session.rights.expires)))
            self._mark_to_flush(session)

    def _send_heartbeat(self, session: Session, wall: Millis) -> None:
        as_of = _complete_as_of(session)
        if (text := self._heartbeats.get(as_of)) is None:
            frame = Heartbeat(format_rfc3339(wall), None if as_of is None else format_rfc3339(as_of))
            text = self._heartbeats[as_of] = encode_frame(frame)
        session.outbox.set_heartbeat(text)
        self._effects.sessions_to_flush.add(session)


def _update_as_of(session: Session) -> None:
    """Takes over `as_of` of the channels. All that waited was passed to the transport."""
    for subscription in session.subscriptions.values():
        if subscription.state is CatchUp.IN_STEP:
            subscription.as_of = subscription.subscribers.channel.as_of
    for of_set in session.sets.values():
        if of_set.state is Stand.IN_STEP:
            of_set.as_of = of_set.channel.as_of


def _complete_as_of(session: Session) -> Millis | None:
    """Returns the time as of which the client was sent everything, for all its subscriptions.

    The time does not advance while data waits in the outbox.
    """
    if session.outbox.is_empty:
        _update_as_of(session)
    oldest: Millis | None = None
    times = [subscription.as_of for subscription in session.subscriptions.values()]
    times += [of_set.as_of for of_set in session.sets.values()]
    for time in times:
        if time is None:
            return None
        oldest = time if oldest is None else min(oldest, time)
    return oldest
