"""What an outbox did until it was flushed: counted, and told where it is worth a line."""

from collections.abc import Sequence

from livebalance.gateway.live.outbox import SessionEvent
from livebalance.gateway.live.session import Session
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs

_COUNTED = {"error": metrics.ERRORS, "snapshot": metrics.SNAPSHOTS, "unsubscribed": metrics.UNSUBSCRIBED}
_TEMPORARY = frozenset({"rate_limited", "unavailable", "not_yet"})  # errors that say nothing of what was sent

_log = logs.get("relay")


def record_session_stats(session: Session) -> None:
    """Its outbox begins anew."""
    outbox = session.outbox
    outbox.remarkable = False
    if outbox.notes:
        _count(session, outbox.notes)
        outbox.notes = ()
    if outbox.conflated or outbox.gathered or outbox.forgotten:
        metrics.CONFLATED.labels("slow").inc(outbox.conflated)
        metrics.CONFLATED.labels("rate").inc(outbox.gathered)
        metrics.FORGOTTEN.inc(outbox.forgotten)
        outbox.conflated = outbox.gathered = outbox.forgotten = 0


def _count(session: Session, notes: Sequence[SessionEvent]) -> None:
    for kind, reason in notes:
        _COUNTED[kind].labels(reason).inc()
        if kind == "error" and reason not in _TEMPORARY:
            _log.info("message refused", code=reason, session=session.name, address=session.address)
