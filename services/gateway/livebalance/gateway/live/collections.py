"""Collections whose order depends only on their inputs, so that the same inputs give the same run again."""

from collections.abc import Iterator
from math import ceil, floor
from typing import Generic, TypeVar

T = TypeVar("T")


class OrderedSet(dict[T, None]):
    """A set in insertion order. A built-in set has the order of memory addresses, another in each run."""

    __slots__ = ()

    def add(self, item: T) -> None:
        """Adds the item at the end, unless the set has it."""
        self[item] = None

    def discard(self, item: T) -> None:
        """Removes the item, if the set has it."""
        self.pop(item, None)

    def pop_last(self) -> T:
        """Removes and returns the newest item. To find the oldest takes longer after each removal.

        Raises:
            KeyError: The set is empty.
        """
        return self.popitem()[0]


class TimerWheel(Generic[T]):
    """Items by the second in which they are due. The caller keeps an item's slot to discard the item."""

    def __init__(self) -> None:
        self._slots: dict[int, set[T]] = {}
        self._last_due: int | None = None  # this slot and every earlier slot were popped

    def add(self, item: T, due: float) -> int:
        """Adds an item and returns its slot: the second that ends at `due` (s) or less than a second later.

        An item that is overdue gets the next slot that `pop_due` has not popped.
        """
        slot = ceil(due) if self._last_due is None else max(ceil(due), self._last_due + 1)
        self._slots.setdefault(slot, set()).add(item)
        return slot

    def discard(self, item: T, slot: int) -> None:
        """Removes the item, if it is still in its slot."""
        if items := self._slots.get(slot):
            items.discard(item)
            if not items:
                del self._slots[slot]

    def pop_due(self, now: float) -> Iterator[T]:
        """Removes and yields the items that are due at `now`, in seconds."""
        first = min(self._slots, default=floor(now)) if self._last_due is None else self._last_due + 1
        self._last_due = floor(now)
        for slot in range(first, self._last_due + 1):
            yield from self._slots.pop(slot, ())
