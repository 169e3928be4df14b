"""The deadlines of all sessions, in a single timer wheel. Pure: times are seconds of a monotonic clock."""

from collections.abc import Iterator
from enum import IntEnum
from math import ceil, floor, inf
from typing import Generic, Protocol, TypeVar

from livebalance.gateway.live.collections import OrderedSet

SLOT_SECONDS = 0.25


class Deadline(IntEnum):
    """What is due for a session. Several that are due together are handled in this order."""

    AUTHENTICATE = 0  # the client must have authenticated
    EXPIRE = 1  # its rights end
    WARN = 2  # it is told that its rights end soon
    AGE = 3  # it is asked to reconnect
    LEAVE = 4  # it must have done so
    HEARTBEAT = 5
    CONFIRM = 6  # a heartbeat out of turn
    CHECK = 7  # whether the client still answers


class Timed(Protocol):
    """A session, as far as `Deadlines` uses it."""

    deadlines: list[float]  # by `Deadline`; inf: none
    slot: int | None  # of the wheel; None: it is in no slot


T = TypeVar("T", bound=Timed)


def no_deadlines() -> list[float]:
    """Returns the deadlines of a new session."""
    return [inf] * len(Deadline)


class Deadlines(Generic[T]):
    """A wheel that holds each session once, at the earliest of its deadlines.

    A deadline that is moved to a later time leaves its session where it is: it is placed anew when that slot
    is due. So a session costs one entry, however many deadlines it has and however often they change.
    """

    def __init__(self) -> None:
        self._slots: dict[int, OrderedSet[T]] = {}
        self._last_due: int | None = None  # this slot and every earlier slot were popped

    def set(self, session: T, deadline: Deadline, due: float) -> None:
        """Sets a deadline in place of an earlier one; inf: none. If it has passed, it is due next."""
        session.deadlines[deadline] = due
        if due != inf and (session.slot is None or self._slot(due) < session.slot):
            self._place(session)

    def remove(self, session: T) -> None:
        """Removes all deadlines of a session."""
        session.deadlines[:] = no_deadlines()
        self._place(session)

    def pop_due(self, now: float) -> Iterator[tuple[T, Deadline, float]]:
        """Removes and yields the deadlines that are due, with their times. They are up to a slot late."""
        current = floor(now / SLOT_SECONDS)
        first = min(self._slots, default=current) if self._last_due is None else self._last_due + 1
        for slot in range(first, current + 1):
            self._last_due = slot
            for session in self._slots.pop(slot, ()):
                if session.slot != slot:
                    continue  # removed while an earlier session was handled
                session.slot = None
                yield from _pop_due(session, current * SLOT_SECONDS)
                self._place(session)

    def _place(self, session: T) -> None:
        """Moves a session to the slot of its earliest deadline."""
        if session.slot is not None and (others := self._slots.get(session.slot)):
            others.discard(session)
            if not others:
                del self._slots[session.slot]
        due = min(session.deadlines)
        session.slot = None if due == inf else self._slot(due)
        if session.slot is not None:
            self._slots.setdefault(session.slot, OrderedSet()).add(session)

    def _slot(self, due: float) -> int:
        slot = ceil(due / SLOT_SECONDS)
        return slot if self._last_due is None else max(slot, self._last_due + 1)


def _pop_due(session: T, now: float) -> Iterator[tuple[T, Deadline, float]]:
    deadlines = session.deadlines
    for deadline in Deadline:
        if (due := deadlines[deadline]) <= now:
            deadlines[deadline] = inf
            yield session, deadline, due
