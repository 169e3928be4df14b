"""The throttle of a session: it keeps requests below the rate at which a gateway rejects messages."""

from msgspec import UNSET, UnsetType

_DEFAULT_RATE = 10.0  # messages per second of a gateway that does not say its limit
_SHARE = 0.5  # of the limit; the rest is for tokens
_BURST_SECONDS = 3.0  # the messages of so many seconds may be sent at once, as at the gateway


class Throttle:
    """Says when the next request may be sent (generic cell rate algorithm, ITU-T I.371, annex A).

    Requests that have to wait share messages then. So a program may follow and unfollow as it likes, and a
    gateway may reject each of a hundred accounts at its own time.
    """

    def __init__(self, messages_per_second: float | UnsetType = UNSET) -> None:
        """Creates the throttle of a connection to a gateway with this limit."""
        limit = _DEFAULT_RATE if messages_per_second is UNSET else messages_per_second
        self._interval = 1 / (_SHARE * limit)
        self._full_at = 0.0  # the time at which a whole burst may be sent again

    @property
    def ready_at(self) -> float:
        """Time from which a message may be sent, in seconds of the clock of `sent`."""
        return self._full_at - _BURST_SECONDS + self._interval

    def sent(self, count: int, now: float) -> None:
        """Counts messages that were sent."""
        self._full_at = max(self._full_at, now) + count * self._interval
