"""Admits connections, requests and sessions, or says why not."""

from collections.abc import Callable

from livebalance.gateway.clock import uptime
from livebalance.gateway.limits.client_address import UNNAMED, Address
from livebalance.gateway.limits.connections import ConnectionLimiter, Rejection
from livebalance.gateway.server.refusal import Refusal, refuse_not_ready, refuse_over_limit
from livebalance.gateway.telemetry import metrics


class Admission:
    """The limits of a gateway, and whether it is ready for clients.

    A client holds a place of its address while it is connected, or while a proxy's request for it is served.
    A WebSocket or event stream is also a session.
    """

    def __init__(self, limiter: ConnectionLimiter, not_admitting: Callable[[float], str | None]) -> None:
        """Uses `limiter`. `not_admitting` returns why no session is admitted now, or None."""
        self._limiter = limiter
        self._not_admitting = not_admitting

    @property
    def sessions(self) -> int:
        """The sessions that are open."""
        return self._limiter.sessions

    def connect(self, address: Address) -> Refusal | None:
        """Holds a place for a new connection of a client until `release`, or returns why it is rejected."""
        return _refusal(self._limiter.hold(address, uptime(), paced=True))

    def hold(self, address: Address) -> Refusal | None:
        """Holds a place for a proxy's request until `release`, or returns why it is rejected."""
        if address == UNNAMED:
            metrics.UNNAMED.inc()
        return _refusal(self._limiter.hold(address, uptime(), paced=False))

    def release(self, address: Address) -> None:
        """Ends the place of a connection or request."""
        self._limiter.release(address)

    def open(self, address: Address, *, through_proxy: bool) -> Refusal | None:
        """Counts a session, whose place is held, until `close`; or returns why it is rejected."""
        now = uptime()
        if reason := self._not_admitting(now):
            return refuse_not_ready(reason)
        return _refusal(self._limiter.open(address, now, paced=through_proxy))

    def close(self) -> None:
        """Ends the count of a session."""
        self._limiter.close()

    def overload(self) -> Refusal | None:
        """Returns the refusal that applies to the session of any client now, or None."""
        return _refusal(self._limiter.overload(uptime()))


def _refusal(rejection: Rejection | None) -> Refusal | None:
    return refuse_over_limit(rejection) if rejection else None
