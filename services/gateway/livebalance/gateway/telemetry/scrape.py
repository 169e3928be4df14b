"""Sets the gauges when Prometheus scrapes, so that deliveries need not keep them up to date."""

import math
from collections.abc import Iterable
from typing import get_args

from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.status import PipelineState, PipelineStatus
from livebalance.gateway.telemetry import metrics
from livebalance.wire.timestamp import Millis


class ScrapeCollector:
    """Collects what the hub, the pipeline status and the sessions hold."""

    def __init__(self, hub: Hub, pipeline: PipelineStatus, sessions: Iterable[Session]) -> None:
        """`sessions` is a view of the sessions that are connected."""
        self._hub, self._pipeline, self._sessions = hub, pipeline, sessions

    def collect(self, wall: Millis) -> None:
        """Sets the gauges, and counts the frames that were delivered since the last call."""
        subscribers = self._hub.subscribers.values()
        metrics.CHANNELS.set(len(subscribers))
        metrics.SUBSCRIPTIONS.set(sum(account.size for account in subscribers))
        queued = delivered = 0
        for session in self._sessions:
            outbox = session.outbox
            queued += outbox.size
            delivered += outbox.popped
            outbox.popped = 0
        metrics.QUEUE_BYTES.set(queued)
        metrics.DELIVERIES.inc(delivered)
        self._set_pipeline(wall)

    def _set_pipeline(self, wall: Millis) -> None:
        for state in get_args(PipelineState):
            metrics.STATE.labels(state).set(state == self._pipeline.state)
        as_of = self._pipeline.as_of
        metrics.STALE.set(math.nan if as_of is None else max(0, wall - as_of) / 1000)


def count_deliveries(session: Session) -> None:
    """Counts the frames that were delivered to a session since the last scrape. Called when it ends."""
    metrics.DELIVERIES.inc(session.outbox.popped)
    session.outbox.popped = 0
