"""The connections of clients: tokens and messages come in, and what waits in the outboxes goes out.

A WebSocket or an event stream calls `Connections`, which calls it back as a `ClientConnection`. Each input
goes to the sessions, and is followed by `perform`.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.auth.tokens import TokenError
from livebalance.gateway.clock import uptime, wall
from livebalance.gateway.lifecycle import RETRY_AFTER_DRAIN_MS, Readiness, drain_schedule
from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.live.effects import Disconnect, Effects
from livebalance.gateway.live.session import NOT_AUTHENTICATED, Authenticate, Session
from livebalance.gateway.live.sessions import EXPIRED, REVOKED, Sessions
from livebalance.gateway.server.admission import Admission
from livebalance.gateway.telemetry import metrics
from livebalance.gateway.telemetry.scrape import count_deliveries
from livebalance.gateway.telemetry.session_stats import record_session_stats
from livebalance.gateway.timer import Timer
from livebalance.runtime.process import failpoints
from livebalance.wire.close import CloseCode

REMOVALS_PER_TURN = 64  # sessions whose subscriptions end in a turn of the event loop
CLOSE_BATCH_SECONDS = 0.005  # during a drain, closes that are due within this time are made together

_AUTH_ERRORS: dict[TokenError, Disconnect] = {
    "unauthenticated": NOT_AUTHENTICATED,
    "token_expired": EXPIRED,
    "revoked": REVOKED,
    "keys_missing": Disconnect(CloseCode.BUSY, "keys_missing", 1000),
}


class ClientConnection(Protocol):
    """The transport of a session: a WebSocket or an event stream."""

    def flush(self, now: float) -> int:
        """Writes what the outbox holds, if the transport accepts bytes. Returns how many bytes it wrote.

        Only `Connections.flush` calls it.
        """

    def close(self, code: CloseCode, reason: str, retry_after_ms: int | None) -> None:
        """Flushes, then closes the connection."""

    def check(self) -> float | None:
        """Returns the seconds until the next check; None: the client is gone, and the connection was aborted.

        A ping that is due leaves with the next write, at the latest in `send_ping`.
        """

    def send_ping(self) -> None:
        """Sends the ping that is due, if there is one."""


class Connections:
    """All client connections of a gateway, each with its session."""

    def __init__(
        self,
        sessions: Sessions,
        effects: Effects,
        authenticator: Authenticator,
        readiness: Readiness,
        *,
        connection_rate: float,
        perform: Callable[[], None],
    ) -> None:
        """Accepts `connection_rate` clients per second. `perform` performs what the pure core has decided.

        It calls `perform_effects`. `effects` are those that the sessions add to.
        """
        self.perform = perform
        self.admission = Admission(
            sessions.limiter, lambda now: readiness.not_admitting(authenticator.ready, now)
        )
        self.is_withholding = False  # since the gate was last open, data was not sent
        self._sessions = sessions
        self._effects = effects
        self._authenticator = authenticator
        self._gate = authenticator.gate
        self._readiness = readiness
        self._connection_rate = connection_rate
        self._connections: dict[Session, ClientConnection] = {}
        self.connected = self._connections.keys()  # a view of the sessions
        self._leaving: deque[Session] = deque()  # disconnected, but not removed yet
        self._timer = Timer(self._flush_due)
        metrics.DRAINING.set(0)
        metrics.CLOSED.labels(int(CloseCode.INTERNAL), "internal")  # an alert asks for its increase

    # --- sessions

    def connect(self, name: str, address: Address, connection: ClientConnection) -> Session:
        """Returns a new session for an admitted connection."""
        session = self._sessions.connect(name, address, uptime(), random.random())
        self._connections[session] = connection
        metrics.SESSIONS.set(len(self._connections))
        return session

    def disconnect(self, session: Session) -> None:
        """Removes a session. Called when its connection was lost or is being closed.

        It is sent nothing more, and no longer counts. Its subscriptions end in one of the next turns of the
        event loop, so that thousands of lost connections do not delay the clients that stay.
        """
        self._connections.pop(session, None)
        count_deliveries(session)
        self._sessions.leave(session)
        metrics.SESSIONS.set(len(self._connections))
        if not self._leaving:
            asyncio.get_running_loop().call_soon(self._remove_sessions)
        self._leaving.append(session)

    def _remove_sessions(self) -> None:
        for _ in range(min(len(self._leaving), REMOVALS_PER_TURN)):
            self._sessions.disconnect(self._leaving.popleft())
        self.perform()
        if self._leaving:
            asyncio.get_running_loop().call_soon(self._remove_sessions)

    async def drain(self, delay: float, period: float, stop_accepting: Callable[[], None]) -> None:
        """Asks all clients to reconnect elsewhere, then closes the remaining connections.

        The closes are spread over the period, or over the time that a gateway needs to accept all clients. A
        closed client reconnects at once. During the delay `/readyz` fails, but clients are still accepted:
        until load balancers have seen it, they send clients back to this gateway. Then `stop_accepting` is
        called. Times are in seconds.
        """
        metrics.DRAINING.set(1)
        if self._connections:
            await asyncio.sleep(delay)
        self._readiness.is_draining = True
        stop_accepting()
        connections = list(self._connections.values())  # no client is accepted any more
        window = max(period, len(connections) / self._connection_rate)
        self._sessions.announce_drain(int(window * 1000))
        self.perform()
        started = uptime()
        schedule = drain_schedule(len(connections), window)
        for connection, due in zip(connections, schedule, strict=True):
            if (wait := started + due - uptime()) > CLOSE_BATCH_SECONDS:
                await asyncio.sleep(wait)
            if not self._connections:
                break  # all clients have left by themselves
            connection.close(CloseCode.GOODBYE, "drain", RETRY_AFTER_DRAIN_MS)

    # --- tokens

    def authenticate(self, session: Session, token: str) -> None:
        """Checks the token of a request. If it is not valid, the client may still send another."""
        rights = self._authenticator.check(token)
        if isinstance(rights, Rights):
            self.authorize(session, rights)
        else:
            session.auth_error = _AUTH_ERRORS[rights]

    def authorize(self, session: Session, rights: Rights) -> None:
        """Gives a session the rights of its valid token."""
        self._sessions.authorize(session, None, rights, uptime(), wall())
        self.perform()

    def _check_tokens(self) -> None:
        tokens, self._effects.tokens_to_check = self._effects.tokens_to_check, []
        for session, token in tokens:
            self._check_token(session, token)

    def _check_token(self, session: Session, command: Authenticate) -> None:
        rights = self._authenticator.check(command.token)
        if isinstance(rights, Rights):
            self._sessions.authorize(session, command.request, rights, uptime(), wall())
        else:
            self._sessions.reject(session, _AUTH_ERRORS[rights])

    # --- messages

    def receive(self, session: Session, text: bytes) -> None:
        """Handles a message and performs its effects."""
        self.handle_message(session, text)
        self.perform()

    def handle_message(self, session: Session, text: bytes) -> None:
        """Handles a message. The caller calls `perform` after the last message of a read."""
        self._sessions.receive(session, text, uptime())
        self._check_tokens()
        if self._effects.disconnects:
            self.perform()

    def set_writable(self, session: Session, writable: bool) -> None:
        """Sets whether the transport of a session accepts bytes."""
        self._sessions.set_writable(session, writable)
        if writable:
            self.perform()

    # --- effects

    def perform_effects(self, effects: Effects) -> None:
        """Performs the effects on connections: checks, flushes and closes."""
        checked = self._check_clients(effects.sessions_to_check)
        if effects.sessions_to_flush:
            self.flush(effects.sessions_to_flush)
        for client in checked:
            client.send_ping()
        self._timer.set(self._sessions.due)
        for session, disconnect in effects.disconnects:
            if connection := self._connections.get(session):
                connection.close(disconnect.code, disconnect.reason, _jitter(disconnect.retry_after_ms))

    def _check_clients(self, checks: Iterable[tuple[Session, float]]) -> list[ClientConnection]:
        """Checks whether clients still answer. Returns the connections of those that may get a ping.

        The next check counts from when this one was due, so that pings and heartbeats stay together.
        """
        checked = []
        for session, due in checks:
            connection = self._connections.get(session)
            if connection and (wait := connection.check()) is not None:
                self._sessions.check_later(session, max(due + wait, uptime()))
                checked.append(connection)
        return checked

    def flush(self, sessions: Iterable[Session]) -> None:
        """Writes the outboxes. The innermost loop of a gateway: once for each client that gets a delta."""
        now, connections, sent = uptime(), self._connections, 0
        if now > self._gate.open_until:
            self.is_withholding = True
            return
        for session in sessions:
            if connection := connections.get(session):
                failpoints.at("while_delivering")
                sent += connection.flush(now)
                if session.outbox.needs_attention:
                    self._after_flush(session, now)
        metrics.BYTES.inc(sent)

    def _after_flush(self, session: Session, now: float) -> None:
        if session.outbox.is_delayed or session.waits_for_room:
            self._sessions.schedule(session, now)
        record_session_stats(session)

    def send_withheld(self) -> bool:
        """Sends what was withheld, if the gate is open. Returns whether anything was withheld until now."""
        if not self.is_withholding or not self._gate.is_open(uptime()):
            return False
        self.is_withholding = False
        self.flush(list(self._connections))
        return True

    def _flush_due(self) -> None:
        """Flushes clients that asked for a lower rate, when their data is due."""
        due = self._sessions.flush_due(uptime())
        self.perform()
        self._sessions.flushed(due)


def _jitter(retry_after_ms: int | None) -> int | None:
    """Returns up to twice the wait, so that clients that are closed together do not reconnect together."""
    return None if retry_after_ms is None else random.randint(retry_after_ms, 2 * retry_after_ms)
