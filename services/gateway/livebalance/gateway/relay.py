"""Performs what the machines decide: the one place where their effects meet Redis, Postgres and sockets."""

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import asyncpg

from livebalance.gateway.auth.authenticator import Authenticator
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.auth.tokens import TokenError
from livebalance.gateway.lifecycle import Readiness, drain_schedule
from livebalance.gateway.limits.connections import Address
from livebalance.gateway.live.effects import AccountRead, Disconnect
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import NOT_AUTHENTICATED, Authenticate, Session
from livebalance.gateway.live.sessions import EXPIRED, REVOKED, SessionConfig, Sessions
from livebalance.gateway.live.status import PipelineStatus
from livebalance.gateway.postgres.audit import Audit, AccountPositions, count_findings
from livebalance.gateway.postgres.loader import AccountLoader, AccountStates, ReadFailure
from livebalance.gateway.postgres.read_queue import ReadQueue
from livebalance.gateway.redis.subscriber import Subscriber, SubscriberEvents
from livebalance.gateway.server.refusal import Refusal, refuse_not_ready, refuse_over_limit
from livebalance.gateway.settings import Settings
from livebalance.gateway.telemetry import metrics
from livebalance.gateway.telemetry.latency import LatencySampler
from livebalance.gateway.telemetry.scrape import ScrapeCollector
from livebalance.gateway.telemetry.session_stats import record_session_stats
from livebalance.gateway.timer import Timer
from livebalance.readmodel.gateway_reads import AuditFinding
from livebalance.readmodel.revocations import Revocation
from livebalance.runtime.metrics import render
from livebalance.runtime.process import failpoints
from livebalance.wire.close import CloseCode
from livebalance.wire.delta import Delta, ProgressMessage
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis

TICK = 0.25  # seconds
READERS = 2  # statements at once for accounts; audits have one of their own
RETRY_MS = (500, 2500)
CLOSES_EVERY = 0.005  # seconds, at a drain: those due within are closed together

_REFUSED: dict[TokenError, Disconnect] = {
    "unauthenticated": NOT_AUTHENTICATED,
    "token_expired": EXPIRED,
    "revoked": REVOKED,
    "keys_missing": Disconnect(CloseCode.BUSY, "keys_missing", 1000),
}


class Link(Protocol):
    """The socket of one client."""

    def flush(self, now: float) -> int:
        """Write what its outbox holds, if the transport takes bytes; returns how many bytes that were."""

    def close(self, code: CloseCode, reason: str, retry_after_ms: int | None) -> None: ...


class Relay:
    """`serve` runs until it is cancelled; meanwhile sockets call the methods for clients."""

    def __init__(
        self,
        settings: Settings,
        pool: "asyncpg.Pool[asyncpg.Record]",
        terms: SessionConfig,
        authority: Authenticator,
    ) -> None:
        self._gate = Readiness()
        metrics.DRAINING.set(0)
        metrics.CLOSED.labels(int(CloseCode.INTERNAL), "internal")  # an alert asks for its increase
        self._hub = Hub(settings.recovery_max_revisions, settings.history_bytes)
        self._clients = Sessions(terms, authority.revocations, self._hub)
        self._authority = authority
        authority.on_revoked = self._revoked
        self._pipeline = PipelineStatus()
        self._links: dict[Session, Link] = {}
        self._census = ScrapeCollector(self._hub, self._pipeline, self._links)
        self._journeys = LatencySampler(self._hub)
        self._new_per_second = settings.connection_rate
        self._alarm = Timer(self._release)
        self._deltas = Subscriber(
            settings.redis.get_secret_value(),
            settings.channel_prefix,
            settings.name,
            settings.redis_probe_interval_seconds,
            SubscriberEvents(
                self._acked,
                self._heard,
                self._progress,
                self._connected,
                self._lost,
                self._dropped,
                authority.request_poll,
                self._missed,
            ),
        )
        self._snapshots = AccountLoader(
            pool,
            self._answered,
            self._failed,
            ReadQueue(settings.read_rate, settings.max_queued_reads),
            max_revisions=settings.recovery_max_revisions,
            page_rows=settings.recovery_page_rows,
            timeout_seconds=settings.postgres_timeout_seconds,
            workers=READERS,
        )
        self._audit = Audit(
            pool,
            lambda: list(self._hub.audiences),
            self._hub.positions,
            self._audited,
            self._audit_failed,
            interval_seconds=settings.audit_interval_seconds,
            timeout_seconds=settings.postgres_timeout_seconds,
        )

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            for part in (
                self._deltas.run,
                self._snapshots.run,
                self._audit.run,
                self._authority.run,
                self._tick,
            ):
                group.create_task(part())

    def not_ready(self) -> str | None:
        """Why no new client should come here; None: one may."""
        return self._gate.not_ready(self._authority.ready, time.monotonic())

    def shown(self) -> bytes:
        """For /metrics."""
        self._census.collect(_wall())
        return render()

    # --- clients

    def admit(self, address: Address) -> Refusal | None:
        """None: a client of this address may connect, and counts until `release`."""
        now = time.monotonic()
        if why := self._gate.closed(self._authority.ready, now):
            return refuse_not_ready(why)
        turned = self._clients.doorman.admit(address, now)
        return refuse_over_limit(turned) if turned else None

    def crowded(self) -> Refusal | None:
        """Nobody may come in now, whoever it is."""
        turned = self._clients.doorman.crowded(time.monotonic())
        return refuse_over_limit(turned) if turned else None

    def release(self, address: Address) -> None:
        self._clients.doorman.leave(address)

    def connect(self, name: str, address: Address, link: Link) -> Session:
        """Of a client that was admitted."""
        session = self._clients.connect(name, address, time.monotonic(), random.random())
        self._links[session] = link
        metrics.SESSIONS.set(len(self._links))
        self.perform()
        return session

    def disconnect(self, session: Session) -> None:
        self._links.pop(session, None)
        self._census.on_disconnect(session)
        self._clients.disconnect(session)
        metrics.SESSIONS.set(len(self._links))
        self.perform()

    def authenticate(self, session: Session, token: str) -> None:
        """A token that came with the request. If it is not good, the client may still show another."""
        verdict = self._authority.check(token)
        if isinstance(verdict, Rights):
            self.authorize(session, verdict)
        else:
            session.unwelcome = _REFUSED[verdict]

    def authorize(self, session: Session, rights: Rights) -> None:
        """Its token is good, and gives it these."""
        self._clients.vouched(session, None, rights, time.monotonic(), _wall())
        self.perform()

    def receive(self, session: Session, text: bytes) -> None:
        self.handle_message(session, text)
        self.perform()

    def handle_message(self, session: Session, text: bytes) -> None:
        """What it asks for is done with `perform`: who says several things at once is answered at once."""
        self._clients.receive(session, text, time.monotonic())
        self._check_tokens()
        if self._hub.effects.hangups:
            self.perform()

    def set_writable(self, session: Session, writable: bool) -> None:
        self._clients.writable(session, writable)
        if writable:
            self.perform()

    async def drain(self, notice: float, seconds: float) -> None:
        """Asks every client to go elsewhere, then closes those that stay one by one, over that time.

        They come back over the same time, or over as long as one gateway needs to let them all in. Who sends
        clients here has the notice to see that there is to be none: who went would be sent back, and refused.
        """
        self._gate.leaving = True
        metrics.DRAINING.set(1)
        if self._links:
            await asyncio.sleep(notice)
        self._gate.draining = True
        self._clients.drain(int(seconds * 1000))
        self.perform()
        links = list(self._links.values())  # nobody comes in any more
        window = max(seconds, len(links) / self._new_per_second)
        began = time.monotonic()
        for link, (at, retry_after_ms) in zip(
            links, drain_schedule(seconds, window, [random.random() for _ in links]), strict=True
        ):
            if (wait := began + at - time.monotonic()) > CLOSES_EVERY:
                await asyncio.sleep(wait)
            if not self._links:
                break  # all have gone by themselves
            link.close(CloseCode.GOODBYE, "drain", retry_after_ms)

    # --- rights

    def _check_tokens(self) -> None:
        shown, self._hub.effects.tokens = self._hub.effects.tokens, []
        for session, token in shown:
            self._check(session, token)

    def _check(self, session: Session, shown: Authenticate) -> None:
        verdict = self._authority.check(shown.token)
        if isinstance(verdict, Rights):
            self._clients.vouched(session, shown.request, verdict, time.monotonic(), _wall())
        else:
            self._clients.refused(session, _REFUSED[verdict])

    def _revoked(self, some: Iterable[Revocation]) -> None:
        self._clients.revoked(some)
        self.perform()

    # --- Redis

    def _acked(self, accounts: Sequence[AccountId]) -> None:
        for account in accounts:
            self._hub.acked(account)
        self.perform()

    def _heard(self, deltas: Sequence[tuple[AccountId, Delta]]) -> None:
        timed = self._journeys.start(deltas)
        for account, delta in deltas:
            self._hub.delta(account, delta)
        metrics.DELTAS.inc(len(deltas))
        self.perform()
        if timed:
            self._journeys.finish(*timed)

    def _progress(self, progress: ProgressMessage) -> None:
        self._pipeline.behind(progress.lane, progress.behind, time.monotonic())

    def _dropped(self, reason: str) -> None:
        metrics.DROPPED.labels(reason).inc()

    def _lost(self, reason: str) -> None:
        metrics.REDIS_LOST.labels(reason).inc()

    def _missed(self) -> None:
        self._audit.run_now()

    def _connected(self, here: bool) -> None:
        self._gate.redis_here = here
        self._pipeline.redis(here)
        self._say_status()
        if here:
            self._audit.run_now()  # what was published meanwhile is lost

    # --- Postgres

    def _answered(self, answers: Sequence[tuple[AccountRead, AccountStates]]) -> None:
        now = time.monotonic()
        for read, found in answers:
            self._hub.answered(read, found, now)
        metrics.READS.inc(len(answers))
        self.perform()

    def _failed(self, reads: Sequence[AccountRead], why: ReadFailure) -> None:
        for read in reads:
            self._hub.failed(read, random.randint(*RETRY_MS))
        metrics.FAILED_READS.labels(why).inc(len(reads))
        self.perform()

    def _audited(self, asked: AccountPositions, finding: AuditFinding) -> None:
        now = time.monotonic()
        self._gate.audited_at = now
        self._deltas.subscribe_lanes(finding.partitions)
        self._hub.audited(asked, finding, now)
        self._pipeline.audited(finding, now, _wall())
        for reason, count in count_findings(asked, finding).items():
            metrics.FINDINGS.labels(reason).inc(count)
        self._say_status()
        self.perform()

    def _audit_failed(self) -> None:
        self._pipeline.postgres_away()
        self._say_status()

    # --- what is to be done

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            self._hub.tick(now)
            self._clients.tick(now, _wall())
            self._say_status()
            self.perform()

    def _say_status(self) -> None:
        if status := self._pipeline.changed(time.monotonic(), _wall()):
            self._clients.tell(status)
            self.perform()

    def perform(self) -> None:
        """All that is to be done by now."""
        self._check_tokens()
        done = self._hub.take()
        if done.subscriptions:
            wanted = done.subscriptions
            self._deltas.subscribe([account for account, there in wanted.items() if there])
            self._deltas.unsubscribe([account for account, there in wanted.items() if not there])
        if done.reads:
            self._snapshots.request(done.reads)
        if done.touched:
            self._deliver(done.touched)
        if spared := self._hub.trail.take_spared():
            metrics.HISTORY_RECOVERIES.inc(spared)
        for why in done.repairs:
            metrics.REPAIRS.labels(why).inc()
        self._alarm.set(self._clients.due)
        for session, hangup in done.hangups:
            if link := self._links.get(session):
                link.close(hangup.code, hangup.reason, _spread(hangup.retry_after_ms))

    def _deliver(self, touched: Iterable[Session]) -> None:
        """The innermost loop of a gateway: once for each client a delta goes to."""
        now, links, sent = time.monotonic(), self._links, 0
        for session in touched:
            if link := links.get(session):
                failpoints.at("while_delivering")
                sent += link.flush(now)
                if session.outbox.remarkable:
                    self._look(session)
        metrics.BYTES.inc(sent)

    def _look(self, session: Session) -> None:
        if session.outbox.held:
            self._clients.hold(session)
        record_session_stats(session)

    def _release(self) -> None:
        """For clients that want data less often than they come."""
        self._clients.release(time.monotonic())
        self.perform()


def _spread(retry_after_ms: int | None) -> int | None:
    """So that those who are closed at once do not come back at once."""
    return None if retry_after_ms is None else random.randint(retry_after_ms, 2 * retry_after_ms)


def _wall() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
