"""Subscriptions that a server of Redis was sent and has not answered yet.

It answers in order, but not each in the same way: a channel it takes by a push that names it, those of one
command that are another server's by one error that names their slot.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable


class PendingSubscriptions:
    def __init__(self) -> None:
        self._unanswered: Counter[bytes] = Counter()
        self._by_slot: dict[int, list[bytes]] = defaultdict(list)  # all of them, and some that were answered

    def __contains__(self, channel: bytes) -> bool:
        return channel in self._unanswered

    def sent(self, slot: int, channels: Iterable[bytes]) -> None:
        """All of one slot; 0 if there are no slots."""
        self._unanswered.update(channels)
        self._by_slot[slot] += channels

    def acknowledged(self, channel: bytes) -> bool:
        """Of a channel that was left and wanted again, only the last acknowledgement counts."""
        self._unanswered[channel] -= 1
        if self._unanswered[channel] > 0:
            return False
        del self._unanswered[channel]
        if not self._unanswered:
            self._by_slot.clear()
        return True

    def refused(self, slot: int) -> list[bytes]:
        """The slot is another server's. Returns the channels that were asked for here."""
        channels = [one for one in self._by_slot.pop(slot, ()) if one in self._unanswered]
        for channel in channels:
            self._unanswered.pop(channel, None)  # it may stand there twice
        return channels
