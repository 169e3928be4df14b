"""A set that keeps the order in which its members came: what happens follows from what was given alone."""

from typing import TypeVar

T = TypeVar("T")


class Roll(dict[T, None]):
    """A set orders its members by where they lie in memory, and no run could be had twice."""

    __slots__ = ()

    def add(self, one: T) -> None:
        self[one] = None

    def discard(self, one: T) -> None:
        self.pop(one, None)

    def last(self) -> T:
        """Takes out the one that came last; there must be one. To find the first takes longer each time."""
        return self.popitem()[0]
