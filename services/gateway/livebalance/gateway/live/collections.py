"""A set that keeps the order in which its members came: what happens follows from what was given alone."""

from collections.abc import Iterator
from math import ceil, floor
from typing import Generic, TypeVar

T = TypeVar("T")


class OrderedSet(dict[T, None]):
    """A set orders its members by where they lie in memory, and no run could be had twice."""

    __slots__ = ()

    def add(self, one: T) -> None:
        self[one] = None

    def discard(self, one: T) -> None:
        self.pop(one, None)

    def last(self) -> T:
        """Takes out the one that came last; there must be one. To find the first takes longer each time."""
        return self.popitem()[0]


class TimerWheel(Generic[T]):
    """In slots a second wide; who is put into one keeps its number, to be taken out."""

    def __init__(self) -> None:
        self._slots: dict[int, set[T]] = {}
        self._past: int | None = None  # every slot up to this one

    def put(self, one: T, when: float) -> int:
        """Its slot: at `when` (s) or up to a second later, and not before the next `due`."""
        slot = ceil(when) if self._past is None else max(ceil(when), self._past + 1)
        self._slots.setdefault(slot, set()).add(one)
        return slot

    def take_out(self, one: T, slot: int) -> None:
        """Unless it was due."""
        if some := self._slots.get(slot):
            some.discard(one)
            if not some:
                del self._slots[slot]

    def due(self, now: float) -> Iterator[T]:
        """Those whose time has come, once."""
        first = min(self._slots, default=floor(now)) if self._past is None else self._past + 1
        self._past = floor(now)
        for slot in range(first, self._past + 1):
            yield from self._slots.pop(slot, ())
