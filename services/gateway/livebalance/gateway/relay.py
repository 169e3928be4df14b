"""The relay: performs the effects of the pure core on Redis, Postgres and client connections.

Inputs of all kinds arrive here, go to the hub and the sessions, and are followed by `perform`.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import asyncpg

from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.auth.tokens import TokenError
from livebalance.gateway.clock import uptime
from livebalance.gateway.lifecycle import RETRY_AFTER_DRAIN_MS, Readiness, drain_schedule
from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.live.effects import AccountRead, Disconnect
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import NOT_AUTHENTICATED, Authenticate, Session
from livebalance.gateway.live.sessions import EXPIRED, REVOKED, SessionConfig, Sessions
from livebalance.gateway.live.sets.set_channel import SetRead
from livebalance.gateway.live.status import PipelineStatus
from livebalance.gateway.postgres.audit import AccountPositions, Audit, count_findings
from livebalance.gateway.postgres.loader import AccountLoader, AccountStates, ReadFailure
from livebalance.gateway.postgres.read_queue import ReadQueue
from livebalance.gateway.postgres.set_loader import SetLoader
from livebalance.gateway.redis.subscriber import Subscriber, SubscriberEvents
from livebalance.gateway.server.admission import Admission
from livebalance.gateway.settings import Settings
from livebalance.gateway.telemetry import metrics
from livebalance.gateway.telemetry.latency import LatencySampler
from livebalance.gateway.telemetry.scrape import ScrapeCollector
from livebalance.gateway.telemetry.session_stats import record_session_stats
from livebalance.gateway.timer import Timer
from livebalance.readmodel.gateway_reads import AuditFinding
from livebalance.readmodel.revocations import Revocation
from livebalance.readmodel.sets.reads import SetState
from livebalance.runtime import logs
from livebalance.runtime.metrics import render
from livebalance.runtime.process import failpoints
from livebalance.wire.close import CloseCode
from livebalance.wire.delta import Delta, ProgressMessage
from livebalance.wire.identity import AccountId
from livebalance.wire.sets.batch import LaneBatch
from livebalance.wire.timestamp import Millis

TICK_SECONDS = 0.25
LOADER_WORKERS = 2  # statements at once for account reads; the audit has a connection of its own
RETRY_AFTER_MS = (500, 2500)
REMOVALS_PER_TURN = 64  # sessions whose subscriptions end in a turn of the event loop
MAX_LOGGED_ACCOUNTS = 10  # in one line
MANY_CLIENTS = 64  # that a delta is written to, before the subscriber pauses
MAX_PAUSE_SECONDS = 0.02
CLOSE_BATCH_SECONDS = 0.005  # during a drain, closes that are due within this time are made together

_AUTH_ERRORS: dict[TokenError, Disconnect] = {
    "unauthenticated": NOT_AUTHENTICATED,
    "token_expired": EXPIRED,
    "revoked": REVOKED,
    "keys_missing": Disconnect(CloseCode.BUSY, "keys_missing", 1000),
}
OUTDATED = Disconnect(CloseCode.BUSY, "rights_unknown", 5000)

_log = logs.get("relay")


class ClientConnection(Protocol):
    """The transport of a session: a WebSocket or an event stream."""

    def flush(self, now: float) -> int:
        """Writes what the outbox holds, if the transport accepts bytes. Returns how many bytes it wrote.

        Only `Relay.flush` calls it.
        """

    def close(self, code: CloseCode, reason: str, retry_after_ms: int | None) -> None:
        """Flushes, then closes the connection."""

    def check(self) -> float | None:
        """Returns the seconds until the next check; None: the client is gone, and the connection was aborted.

        A ping that is due leaves with the next write, at the latest in `send_ping`.
        """

    def send_ping(self) -> None:
        """Sends the ping that is due, if there is one."""


class Relay:
    """Connects the pure core with Redis, Postgres and the clients. `serve` runs until it is cancelled.

    Connections call `admission`, `connect`, `handle_message` and so on, from the same event loop.
    """

    def __init__(
        self,
        settings: Settings,
        pool: "asyncpg.Pool[asyncpg.Record]",
        config: SessionConfig,
        authenticator: Authenticator,
    ) -> None:
        self._readiness = Readiness()
        metrics.DRAINING.set(0)
        metrics.CLOSED.labels(int(CloseCode.INTERNAL), "internal")  # an alert asks for its increase
        self._hub = Hub(settings.recovery_max_revisions, settings.history_bytes, settings.max_set_accounts)
        self._sessions = Sessions(config, authenticator.revocations, self._hub)
        self.admission = Admission(
            self._sessions.limiter,
            lambda now: self._readiness.not_admitting(authenticator.ready, now),
        )
        self._authenticator = authenticator
        authenticator.on_revoked = self._on_revoked
        authenticator.on_read = self._on_gate_changed
        self._gate = authenticator.gate
        self._is_withholding = False  # since the gate was last open, data was not sent
        self._flushed = 0  # sessions that the deltas of the current read were written to
        self._audit_began = 0.0
        self._status = PipelineStatus()
        self._connections: dict[Session, ClientConnection] = {}
        self._leaving: deque[Session] = deque()  # disconnected, but not removed yet
        self._scrape = ScrapeCollector(self._hub, self._status, self._connections)
        self._latency = LatencySampler(self._hub)
        self._connection_rate = settings.connection_rate
        self._timer = Timer(self._on_timer)
        self._subscriber = Subscriber(
            settings.redis.get_secret_value(),
            settings.channel_prefix,
            settings.name,
            settings.redis_probe_interval_seconds,
            SubscriberEvents(
                self._on_subscribed,
                self._on_deltas,
                self._on_progress,
                self._on_redis,
                self._on_redis_lost,
                self._on_dropped,
                authenticator.request_poll,
                self._on_missed,
                self._on_batches_subscribed,
                self._on_batch,
            ),
            keys=settings.signing_keys(),
        )
        self._loader = AccountLoader(
            pool,
            self._on_read,
            self._on_read_failed,
            ReadQueue(settings.read_rate, settings.max_queued_reads),
            max_revisions=settings.recovery_max_revisions,
            page_rows=settings.recovery_page_rows,
            timeout_seconds=settings.postgres_timeout_seconds,
            workers=LOADER_WORKERS,
        )
        self._set_loader = SetLoader(
            pool,
            self._on_set_read,
            self._on_set_read_failed,
            max_accounts=settings.max_set_accounts,
            timeout_seconds=settings.postgres_timeout_seconds,
        )
        self._audit = Audit(
            pool,
            self._begin_audit,
            self._hub.positions,
            self._on_audit,
            self._on_audit_failed,
            contents=self._hub.begin_audit,
            on_complete=self._on_audit_complete,
            interval_seconds=settings.audit_interval_seconds,
            timeout_seconds=settings.postgres_timeout_seconds,
        )

    async def serve(self) -> None:
        """Runs the subscriber, the loader, the audit, the authenticator and the timeouts."""
        async with asyncio.TaskGroup() as group:
            for part in (
                self._subscriber.run,
                self._loader.run,
                self._set_loader.run,
                self._audit.run,
                self._authenticator.run,
                self._tick,
            ):
                group.create_task(part())

    def not_ready(self) -> str | None:
        """Returns why no new client should be sent to this gateway; None if it is ready."""
        return self._readiness.not_ready(self._authenticator.ready, uptime())

    def render_metrics(self) -> bytes:
        """Returns the metrics in Prometheus' text format."""
        self._scrape.collect(_wall())
        metrics.REVOCATIONS_AGE.set(self._gate.revocations_age(uptime()))
        return render()

    # --- clients

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
        self._scrape.on_disconnect(session)
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

    def authenticate(self, session: Session, token: str) -> None:
        """Checks the token of a request. If it is not valid, the client may still send another."""
        rights = self._authenticator.check(token)
        if isinstance(rights, Rights):
            self.authorize(session, rights)
        else:
            session.auth_error = _AUTH_ERRORS[rights]

    def authorize(self, session: Session, rights: Rights) -> None:
        """Gives a session the rights of its valid token."""
        self._sessions.authorize(session, None, rights, uptime(), _wall())
        self.perform()

    def receive(self, session: Session, text: bytes) -> None:
        """Handles a message and performs its effects."""
        self.handle_message(session, text)
        self.perform()

    def handle_message(self, session: Session, text: bytes) -> None:
        """Handles a message. The caller calls `perform` after the last message of a read."""
        self._sessions.receive(session, text, uptime())
        self._check_tokens()
        if self._hub.effects.disconnects:
            self.perform()

    def set_writable(self, session: Session, writable: bool) -> None:
        """Sets whether the transport of a session accepts bytes."""
        self._sessions.set_writable(session, writable)
        if writable:
            self.perform()

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

    # --- rights

    def _check_tokens(self) -> None:
        tokens, self._hub.effects.tokens_to_check = self._hub.effects.tokens_to_check, []
        for session, token in tokens:
            self._check_token(session, token)

    def _check_token(self, session: Session, command: Authenticate) -> None:
        rights = self._authenticator.check(command.token)
        if isinstance(rights, Rights):
            self._sessions.authorize(session, command.request, rights, uptime(), _wall())
        else:
            self._sessions.reject(session, _AUTH_ERRORS[rights])

    def _on_revoked(self, revocations: Iterable[Revocation]) -> None:
        self._sessions.revoke(revocations)
        self.perform()

    def _check_gate(self, now: float) -> None:
        """Begins to read rights and accounts after a pause. Closes all clients after an outage."""
        if self._gate.tick(now):
            _log.warning("gateway paused", effect="nothing is sent until revocations and accounts were read")
            self._authenticator.request_poll()
            self._audit.run_now()
        if self._connections and self._gate.has_expired(now):
            _log.error("clients closed", reason=OUTDATED.reason, sessions=len(self._connections))
            self._sessions.reject_all(OUTDATED)

    def _on_gate_changed(self) -> None:
        """Sends what was withheld if the gate is open, and repairs the deltas that were dropped."""
        if self._is_withholding and self._gate.is_open(uptime()):
            self._is_withholding = False
            self._audit.run_now()
            self.flush(list(self._connections))

    def _begin_audit(self) -> list[AccountId]:
        self._audit_began = uptime()
        return list(self._hub.subscribers)

    def _on_audit_complete(self) -> None:
        self._gate.on_audit(self._audit_began)
        self._on_gate_changed()

    # --- Redis

    def _on_subscribed(self, accounts: Sequence[AccountId]) -> None:
        for account in accounts:
            self._hub.on_subscribed(account)
        self.perform()

    def _on_deltas(self, deltas: Sequence[tuple[AccountId, Delta]]) -> None:
        if self._is_withholding:
            return  # they would fill the outboxes; the next audit finds the gaps
        started, self._flushed = uptime(), 0
        sample = self._latency.start(deltas)
        for account, delta in deltas:
            self._hub.on_delta(account, delta)
        metrics.DELTAS.inc(len(deltas))
        self.perform()
        if sample:
            self._latency.finish(*sample)
        if self._flushed >= MANY_CLIENTS * len(deltas):
            # Each client costs a write. The deltas that arrive meanwhile share the next (decision 37).
            self._subscriber.pause(min(uptime() - started, MAX_PAUSE_SECONDS))

    def _on_batches_subscribed(self) -> None:
        self._hub.sets.on_subscribed()
        self.perform()

    def _on_batch(self, batch: LaneBatch) -> None:
        if self._is_withholding:
            self._hub.sets.on_batches_lost()
        else:
            self._hub.sets.on_batch(batch)
            self.perform()

    def _on_progress(self, progress: ProgressMessage) -> None:
        self._status.on_progress(progress.lane, progress.behind, uptime())

    def _on_dropped(self, kind: str) -> None:
        metrics.DROPPED.labels(kind).inc()

    def _on_redis_lost(self, reason: str) -> None:
        metrics.REDIS_LOST.labels(reason).inc()

    def _on_missed(self) -> None:
        self._audit.run_now()

    def _on_redis(self, connected: bool) -> None:
        self._readiness.redis_connected = connected
        self._status.on_redis(connected)
        self._send_status()
        if connected:
            self._audit.run_now()  # messages that were published meanwhile are lost

    # --- Postgres

    def _on_read(self, answers: Sequence[tuple[AccountRead, AccountStates]]) -> None:
        now = uptime()
        for read, states in answers:
            self._hub.on_read(read, states, now)
        metrics.READS.inc(len(answers))
        self.perform()

    def _on_read_failed(self, reads: Sequence[AccountRead], failure: ReadFailure) -> None:
        for read in reads:
            self._hub.on_read_failed(read, random.randint(*RETRY_AFTER_MS))
        metrics.FAILED_READS.labels(failure).inc(len(reads))
        self.perform()

    def _on_set_read(self, read: SetRead, state: SetState) -> None:
        self._hub.sets.on_read(read, state)
        self.perform()

    def _on_set_read_failed(self, read: SetRead) -> None:
        self._hub.sets.on_read_failed(read)
        self.perform()

    def _on_audit(self, compared: AccountPositions, finding: AuditFinding) -> None:
        now = uptime()
        self._readiness.audited_at = now
        self._subscriber.subscribe_lanes(finding.partitions)
        self._hub.on_audit(compared, finding, now)
        self._status.on_audit(finding, now, _wall())
        for reason, count in count_findings(compared, finding).items():
            metrics.FINDINGS.labels(reason).inc(count)
        if finding.different:
            accounts = sorted(finding.different)[:MAX_LOGGED_ACCOUNTS]
            _log.error("relayed content differs", accounts=accounts, count=len(finding.different))
        self._send_status()
        self.perform()

    def _on_audit_failed(self) -> None:
        self._status.on_audit_failed()
        self._send_status()

    # --- effects

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = uptime()
            self._check_gate(now)
            self._hub.tick(now)
            self._sessions.tick(now, _wall())
            self._send_status()
            self.perform()

    def _send_status(self) -> None:
        if status := self._status.next_status(uptime(), _wall()):
            self._sessions.set_status(status)
            self.perform()

    def perform(self) -> None:
        """Performs all effects that were collected since the last call."""
        self._check_tokens()
        effects = self._hub.drain_effects()
        if effects.redis_subscriptions:
            wanted = effects.redis_subscriptions
            self._subscriber.subscribe([account for account, subscribed in wanted.items() if subscribed])
            self._subscriber.unsubscribe(
                [account for account, subscribed in wanted.items() if not subscribed]
            )
        if effects.reads:
            self._loader.request(effects.reads)
        if effects.batches_wanted is not None:
            self._subscriber.subscribe_batches(wanted=effects.batches_wanted)
        if effects.set_reads:
            self._set_loader.request(effects.set_reads)
        checked = self._check_clients(effects.sessions_to_check)
        if effects.sessions_to_flush:
            self._flushed += len(effects.sessions_to_flush)
            self.flush(effects.sessions_to_flush)
        for client in checked:
            client.send_ping()
        if recoveries := self._hub.history.drain_recoveries():
            metrics.HISTORY_RECOVERIES.inc(recoveries)
        for reason in effects.opened_gaps:
            metrics.REPAIRS.labels(reason).inc()
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
            self._is_withholding = True
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

    def _on_timer(self) -> None:
        """Flushes clients that asked for a lower rate, when their data is due."""
        self._sessions.flush_due(uptime())
        self.perform()


def _jitter(retry_after_ms: int | None) -> int | None:
    """Returns up to twice the wait, so that clients that are closed together do not reconnect together."""
    return None if retry_after_ms is None else random.randint(retry_after_ms, 2 * retry_after_ms)


def _wall() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
