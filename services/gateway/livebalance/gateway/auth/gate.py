"""Decides whether a gateway knows the rights of its clients well enough to send them data.

Times are in seconds of a clock that also advances while the machine is suspended.
"""

MAX_PAUSE = 2.0  # seconds between two ticks, which are 0.25 s apart; after more, the gateway was stopped
_NEVER = float("-inf")


class Gate:
    """Open while data may be sent (docs/guarantees.md#rights).

    A gateway that starts, or that wakes after a pause, first reads the revocations and audits all accounts.
    """

    def __init__(self, now: float, max_age: float) -> None:
        """Closed. `max_age`: seconds that the gate stays open without a read of the revocations, or inf."""
        self._max_age = max_age
        self._created_at = self._ticked_at = self._woke_at = now
        self._read_at = self._audited_at = _NEVER  # the beginning of the last that succeeded
        self.open_until = _NEVER  # the hot path compares the time with it

    def is_open(self, now: float) -> bool:
        """Returns whether data may be sent."""
        return now <= self.open_until

    def has_expired(self, now: float) -> bool:
        """Returns whether revocations could not be read for too long, so that clients are to be closed."""
        return now > max(self._read_at, self._woke_at) + self._max_age

    def revocations_age(self, now: float) -> float:
        """Returns the seconds since revocations were read; before the first read, since the start."""
        return now - max(self._read_at, self._created_at)

    def tick(self, now: float) -> bool:
        """Returns whether the gateway was stopped since the last tick. The gate is closed then."""
        woke = now > self._ticked_at + MAX_PAUSE
        self._ticked_at = now
        if woke:
            self._woke_at = now
        self._update()
        return woke

    def on_revocations(self, began: float) -> None:
        """Called when all revocations were applied that were committed before `began`."""
        self._read_at = began
        self._update()

    def on_audit(self, began: float) -> None:
        """Called when all accounts were compared with Postgres, no account before `began`."""
        self._audited_at = began
        self._update()

    def _update(self) -> None:
        is_current = min(self._read_at, self._audited_at) >= self._woke_at
        self.open_until = (
            min(self._ticked_at + MAX_PAUSE, self._read_at + self._max_age) if is_current else _NEVER
        )
