"""Decides which of many similar events are logged, so that a flood of them fills no log. Pure."""

INTERVAL_SECONDS = 10.0  # between two lines about events of the same kind


class RecurringEvents:
    """Reports the first event of a kind at once, and the following ones together. Times are in seconds.

    A line waits for an event, so the last events of a flood have none. A metric counts all of them.
    """

    def __init__(self) -> None:
        self._reported_at: dict[str, float] = {}
        self._unreported: dict[str, int] = {}

    def add(self, kind: str, now: float) -> int:
        """Counts an event. Returns how many events since the last line a line reports now; 0: none is due."""
        count = self._unreported.get(kind, 0) + 1
        reported_at = self._reported_at.get(kind)
        if reported_at is not None and now < reported_at + INTERVAL_SECONDS:
            self._unreported[kind] = count
            return 0
        self._reported_at[kind], self._unreported[kind] = now, 0
        return count
