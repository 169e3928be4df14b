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
    outbox.needs_attention = False
    if outbox.events:
        _count(session, outbox.events)
        outbox.events = ()
    if outbox.conflated_by_size or outbox.conflated_by_rate or outbox.overflows:
        metrics.CONFLATED.labels("slow").inc(outbox.conflated_by_size)
        metrics.CONFLATED.labels("rate").inc(outbox.conflated_by_rate)
        metrics.QUEUE_OVERFLOWS.inc(outbox.overflows)
        outbox.conflated_by_size = outbox.conflated_by_rate = outbox.overflows = 0


def _count(session: Session, events: Sequence[SessionEvent]) -> None:
    for kind, reason in events:
        _COUNTED[kind].labels(reason).inc()
        if kind == "error" and reason not in _TEMPORARY:
            _log.info("message rejected", code=reason, session=session.name, address=session.address)
