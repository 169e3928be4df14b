"""Counts and logs what happened to a session's outbox since it was last flushed."""

from collections.abc import Sequence

from livebalance.gateway.live.outbox import SessionEvent
from livebalance.gateway.live.session import Session
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs

_COUNTED = {"error": metrics.ERRORS, "snapshot": metrics.SNAPSHOTS, "unsubscribed": metrics.UNSUBSCRIBED}
_TEMPORARY = frozenset({"rate_limited", "unavailable", "not_yet"})  # not caused by what a message says

_log = logs.get("session")


def record_session_stats(session: Session) -> None:
    """Counts the events of a session's outbox, and resets them."""
    outbox = session.outbox
    outbox.remarkable = False
    if outbox.notes:
        _count(session, outbox.notes)
        outbox.notes = ()
    if outbox.conflated or outbox.gathered or outbox.forgotten:
        metrics.CONFLATED.labels("slow").inc(outbox.conflated)
        metrics.CONFLATED.labels("rate").inc(outbox.gathered)
        metrics.QUEUE_OVERFLOWS.inc(outbox.forgotten)
        outbox.conflated = outbox.gathered = outbox.forgotten = 0


def _count(session: Session, notes: Sequence[SessionEvent]) -> None:
    for kind, reason in notes:
        _COUNTED[kind].labels(reason).inc()
        if kind == "error" and reason not in _TEMPORARY:
            _log.info("message rejected", code=reason, session=session.name, address=session.address)
