"""Lifecycle of a gateway: whether it is ready for clients, and how a drain spreads the closes."""

MAX_AUDIT_AGE = 15.0  # seconds, if audits are not rarer than usual
GOAWAY_GRACE = 1.0  # seconds for clients to react to `goaway` before the first close of a drain
RETRY_AFTER_DRAIN_MS = 200  # the closes are spread, so the returns need not be


class Readiness:
    """Whether clients may be sent to this gateway, and whether those that arrive are admitted.

    A gateway that is stopping is not ready (`health.run_server`), but admits clients until it is draining.
    """

    def __init__(self, audit_delay: float = 0.0) -> None:
        """`audit_delay`: seconds by which the interval of the audit exceeds the usual interval."""
        self._audit_delay = audit_delay
        self.is_draining = False
        self.redis_connected = False
        self.audited_at: float | None = None  # monotonic seconds

    def not_ready(self, has_keys: bool, now: float) -> str | None:
        """Returns why no new client should be sent here; None if the gateway is ready.

        `has_keys`: tokens can be checked, and the gateway knows which rights are revoked.
        """
        if not self.redis_connected:
            return "Redis is unavailable"
        if not has_keys:
            return "no keys, or no recent revocations"
        if self.audited_at is None or self.audited_at < now - MAX_AUDIT_AGE - self._audit_delay:
            return "no recent audit"
        return None

    def not_admitting(self, has_keys: bool, now: float) -> str | None:
        """Returns why a new client is rejected; None if it is admitted."""
        return "draining" if self.is_draining else self.not_ready(has_keys, now)


def drain_schedule(count: int, window: float) -> list[float]:
    """Returns when each of `count` clients is closed: evenly over the `window`, after a grace.

    The window and the result are in seconds from the start of the drain.
    """
    grace = min(GOAWAY_GRACE, window / 5)
    return [grace + (index + 0.5) / count * (window - grace) for index in range(count)]
