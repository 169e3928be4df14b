"""Lifecycle of a gateway: whether it is ready for clients, and how a drain spreads the closes."""

from collections.abc import Sequence
from typing import NamedTuple

MAX_AUDIT_AGE = 15.0  # seconds
GOAWAY_GRACE = 1.0  # seconds for clients to react to `goaway` before the first close of a drain


class Readiness:
    """Whether clients may be sent to this gateway, and whether those that arrive are admitted.

    A gateway that is stopping is not ready, but admits clients until it is draining.
    """

    def __init__(self) -> None:
        self.is_stopping = self.is_draining = False
        self.redis_connected = False
        self.audited_at: float | None = None  # monotonic seconds

    def not_ready(self, has_keys: bool, now: float) -> str | None:
        """Returns why no new client should be sent here; None if the gateway is ready.

        `has_keys`: tokens can be checked, and the gateway knows which rights are revoked.
        """
        return "draining" if self.is_stopping else self._missing(has_keys, now)

    def not_admitting(self, has_keys: bool, now: float) -> str | None:
        """Returns why a new client is rejected; None if it is admitted."""
        return "draining" if self.is_draining else self._missing(has_keys, now)

    def _missing(self, has_keys: bool, now: float) -> str | None:
        if not self.redis_connected:
            return "Redis is unavailable"
        if not has_keys:
            return "no keys, or no recent revocations"
        if self.audited_at is None or self.audited_at < now - MAX_AUDIT_AGE:
            return "no recent audit"
        return None


class DrainSlot(NamedTuple):
    """When a client is closed in a drain, and when it may reconnect."""

    delay: float  # seconds from the start of the drain
    retry_after_ms: int


def drain_schedule(period: float, window: float, jitters: Sequence[float]) -> list[DrainSlot]:
    """Returns a slot for each client: closes evenly over `period`, after a grace, reconnects over `window`.

    Each client has a slot of the window to itself, and reconnects in the first half of it: neighbours stay
    apart.

    Args:
        period: Seconds over which connections are closed.
        window: Seconds over which clients reconnect.
        jitters: A random number in [0, 1) for each client.
    """
    count, grace = len(jitters), min(GOAWAY_GRACE, period / 5)
    return [
        DrainSlot(
            grace + (index + 0.5) / count * (period - grace),
            int((index + jitter / 2) / count * window * 1000),
        )
        for index, jitter in enumerate(jitters)
    ]
