"""What there is at the moment of a scrape: counted then, so that a delivery does not pay for it."""

import math
from collections.abc import Iterable
from typing import get_args

from livebalance.gateway import metrics
from livebalance.gateway.hub import Hub
from livebalance.gateway.session import Session
from livebalance.gateway.status import Pipeline, Word
from livebalance.wire.instant import Millis


class Census:
    def __init__(self, hub: Hub, pipeline: Pipeline, sessions: Iterable[Session]) -> None:
        """`sessions`: those who are here, whenever it is looked at."""
        self._hub, self._pipeline, self._sessions = hub, pipeline, sessions

    def take(self, wall: Millis) -> None:
        audiences = self._hub.audiences
        metrics.CHANNELS.set(len(audiences))
        metrics.SUBSCRIPTIONS.set(sum(audience.size for audience in audiences.values()))
        waiting = 0
        for session in self._sessions:
            waiting += session.outbox.size
            self.count(session)
        metrics.OUTBOX_BYTES.set(waiting)
        self._of_pipeline(wall)

    def count(self, session: Session) -> None:
        """What it was given since it was last counted; once more when it leaves."""
        outbox = session.outbox
        metrics.DELIVERIES.inc(outbox.taken)
        outbox.taken = 0

    def _of_pipeline(self, wall: Millis) -> None:
        for word in get_args(Word):
            metrics.STATE.labels(word).set(word == self._pipeline.word)
        as_of = self._pipeline.as_of
        metrics.STALE.set(math.nan if as_of is None else max(0, wall - as_of) / 1000)
