"""Subscriptions that were sent to a Redis node and that it has not answered yet.

Redis answers in order: a `subscribe` push for each channel that it accepts, but a single MOVED error, which
names only the slot, for all channels of a command that belong to another node.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable


class PendingSubscriptions:
    """The unanswered subscriptions of a connection, counted by channel."""

    def __init__(self) -> None:
        self._pending: Counter[bytes] = Counter()
        self._by_slot: dict[int, list[bytes]] = defaultdict(list)  # may also hold channels that were answered

    def __contains__(self, channel: bytes) -> bool:
        return channel in self._pending

    def add(self, slot: int, channels: Iterable[bytes]) -> None:
        """Adds the channels of a command that was sent. They share `slot`, which is 0 outside a cluster."""
        self._pending.update(channels)
        self._by_slot[slot] += channels

    def acknowledge(self, channel: bytes) -> bool:
        """Counts an acknowledgement, and returns whether it was the last that is pending.

        Only the last counts for a channel that was unsubscribed and subscribed again.
        """
        self._pending[channel] -= 1
        if self._pending[channel] > 0:
            return False
        del self._pending[channel]
        if not self._pending:
            self._by_slot.clear()
        return True

    def reject_slot(self, slot: int) -> list[bytes]:
        """Removes and returns the pending channels of a slot that belongs to another node."""
        channels = [channel for channel in self._by_slot.pop(slot, ()) if channel in self._pending]
        for channel in channels:
            self._pending.pop(channel, None)  # a channel may be listed twice
        return channels
