"""What there is at the moment of a scrape: counted then, so that a delivery does not pay for it."""

import math
from collections.abc import Iterable
from typing import get_args

from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.status import PipelineStatus, Word
from livebalance.gateway.telemetry import metrics
from livebalance.wire.timestamp import Millis


class ScrapeCollector:
    def __init__(self, hub: Hub, pipeline: PipelineStatus, sessions: Iterable[Session]) -> None:
        """`sessions`: those who are here, whenever it is looked at."""
        self._hub, self._pipeline, self._sessions = hub, pipeline, sessions

    def take(self, wall: Millis) -> None:
        audiences = self._hub.audiences
        metrics.CHANNELS.set(len(audiences))
        metrics.SUBSCRIPTIONS.set(sum(audience.size for audience in audiences.values()))
        waiting = taken = 0
        for session in self._sessions:
            outbox = session.outbox
            waiting += outbox.size
            taken += outbox.taken
            outbox.taken = 0
        metrics.OUTBOX_BYTES.set(waiting)
        metrics.DELIVERIES.inc(taken)
        self._of_pipeline(wall)

    def leaves(self, session: Session) -> None:
        """What it was given since the last scrape is counted now."""
        metrics.DELIVERIES.inc(session.outbox.taken)
        session.outbox.taken = 0

    def _of_pipeline(self, wall: Millis) -> None:
        for word in get_args(Word):
            metrics.STATE.labels(word).set(word == self._pipeline.word)
        as_of = self._pipeline.as_of
        metrics.STALE.set(math.nan if as_of is None else max(0, wall - as_of) / 1000)
