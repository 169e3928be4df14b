"""Collections whose order depends only on their inputs, so that the same inputs give the same run again."""

from typing import TypeVar

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
