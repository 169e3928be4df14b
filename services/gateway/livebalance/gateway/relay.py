"""The relay: joins the pure core with Redis, Postgres and the connections of clients.

Inputs of Redis, Postgres and time arrive here, go to the hub and the sessions, and are followed by `perform`.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence

import asyncpg

from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.clock import uptime, wall
from livebalance.gateway.connections import Connections
from livebalance.gateway.lifecycle import Readiness
from livebalance.gateway.live.effects import AccountRead, Disconnect
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.sessions import SessionConfig, Sessions
from livebalance.gateway.live.sets.set_channel import SetRead
from livebalance.gateway.live.status import PipelineStatus
from livebalance.gateway.postgres.audit import AccountPositions, Audit, count_findings
from livebalance.gateway.postgres.loader import AccountLoader, AccountStates, ReadFailure
from livebalance.gateway.postgres.read_queue import ReadQueue
from livebalance.gateway.postgres.set_follower import SetFollower
from livebalance.gateway.postgres.set_loader import SetLoader
from livebalance.gateway.redis.subscriber import Subscriber, SubscriberEvents
from livebalance.gateway.settings import Settings
from livebalance.gateway.telemetry import metrics
from livebalance.gateway.telemetry.latency import LatencySampler
from livebalance.gateway.telemetry.scrape import ScrapeCollector
from livebalance.readmodel.gateway_reads import AuditFinding
from livebalance.readmodel.revocations import Revocation
from livebalance.readmodel.sets.reads import SetState
from livebalance.runtime import logs
from livebalance.runtime.metrics import render
from livebalance.wire.close import CloseCode
from livebalance.wire.delta import Delta, ProgressMessage
from livebalance.wire.identity import AccountId
from livebalance.wire.sets.batch import LaneBatch

TICK_SECONDS = 0.25
USUAL_AUDIT_INTERVAL = 5.0  # seconds
LOADER_WORKERS = 2  # statements at once for account reads; the audit has a connection of its own
RETRY_AFTER_MS = (500, 2500)
MAX_LOGGED_ACCOUNTS = 10  # in one line
MANY_CLIENTS = 64  # that a delta is written to, before the subscriber pauses
MAX_PAUSE_SECONDS = 0.02
OUTDATED = Disconnect(CloseCode.BUSY, "rights_unknown", 5000)

_log = logs.get("relay")


class Relay:
    """Performs what the pure core decides. `serve` runs until it is cancelled; clients use `connections`."""

    def __init__(
        self,
        settings: Settings,
        pool: "asyncpg.Pool[asyncpg.Record]",
        config: SessionConfig,
        authenticator: Authenticator,
    ) -> None:
        # Rare audits are older, and see later that a lane has advanced.
        audit_delay = max(0.0, settings.audit_interval_seconds - USUAL_AUDIT_INTERVAL)
        self._readiness = Readiness(audit_delay)
        self._hub = Hub(settings.recovery_max_revisions, settings.history_bytes, settings.max_set_accounts)
        self._sessions = Sessions(config, authenticator.revocations, self._hub)
        self.connections = Connections(
            self._sessions,
            self._hub.effects,
            authenticator,
            self._readiness,
            connection_rate=settings.connection_rate,
            perform=self.perform,
        )
        self._authenticator = authenticator
        authenticator.on_revoked = self._on_revoked
        authenticator.on_read = self._on_gate_changed
        self._gate = authenticator.gate
        self._flushed = 0  # sessions that the deltas of the current read were written to
        self._audit_began = 0.0
        self._status = PipelineStatus(audit_delay)
        self._scrape = ScrapeCollector(self._hub, self._status, self.connections.connected)
        self._latency = LatencySampler(self._hub)
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
            is_current=self._hub.sets.is_current,
            max_accounts=settings.max_set_accounts,
            timeout_seconds=settings.postgres_timeout_seconds,
        )
        self._set_follower = SetFollower(
            pool, lambda: self._hub.sets.followed(uptime()), timeout_seconds=settings.postgres_timeout_seconds
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
                self._set_follower.run,
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
        self._scrape.collect(wall())
        metrics.REVOCATIONS_AGE.set(self._gate.revocations_age(uptime()))
        return render()

    # --- rights

    def _on_revoked(self, revocations: Iterable[Revocation]) -> None:
        self._sessions.revoke(revocations)
        self.perform()

    def _check_gate(self, now: float) -> None:
        """Begins to read rights and accounts after a pause. Closes all clients after an outage."""
        if self._gate.tick(now):
            _log.warning("gateway paused", effect="nothing is sent until revocations and accounts were read")
            self._authenticator.request_poll()
            self._audit.run_now()
        clients = self.connections.connected
        if clients and self._gate.has_expired(now):
            _log.error("clients closed", reason=OUTDATED.reason, sessions=len(clients))
            self._sessions.reject_all(OUTDATED)

    def _on_gate_changed(self) -> None:
        """Sends what was withheld if the gate is open, and repairs the deltas that were dropped."""
        if self.connections.send_withheld():
            self._audit.run_now()

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
        if self.connections.is_withholding:
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
        if self.connections.is_withholding:
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
        self._status.on_audit(finding, now, wall())
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
            self._sessions.tick(now, wall())
            self._send_status()
            self.perform()

    def _send_status(self) -> None:
        if status := self._status.next_status(uptime(), wall()):
            self._sessions.set_status(status)
            self.perform()

    def perform(self) -> None:
        """Performs all effects that were collected since the last call."""
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
        for name in effects.wrong_totals:
            metrics.WRONG_TOTALS.inc()
            _log.error("projectors keep another total than the balances have", set=name.channel)
        self._flushed += len(effects.sessions_to_flush)
        self.connections.perform_effects(effects)
        if recoveries := self._hub.history.drain_recoveries():
            metrics.HISTORY_RECOVERIES.inc(recoveries)
        for reason in effects.opened_gaps:
            metrics.REPAIRS.labels(reason).inc()
