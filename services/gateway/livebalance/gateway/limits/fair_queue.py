"""A queue in front of a few slots that serves users in turn, however many requests each of them has.

A request that waits first in line of its user is delayed by at most one request of each other user, and by
those that run already (RFC 970).
"""

from collections import Counter, deque
from typing import Generic, TypeVar

User = str
T = TypeVar("T")


class FairQueue(Generic[T]):
    """Requests that wait for one of `slots`. A user has at most `slots_per_user` of them."""

    def __init__(self, slots: int, slots_per_user: int, max_waiting: int) -> None:
        self._slots = slots
        self._slots_per_user = slots_per_user
        self._max_waiting = max_waiting
        self._waiting: dict[User, deque[T]] = {}  # in the order of turns; a user without requests is left out
        self._running = Counter[User]()
        self.waiting = 0

    def add(self, user: User, request: T) -> T | None:
        """Queues a request. Returns the request that is dropped instead, if the queue is full.

        That is the newest request of the user with most requests.
        """
        self._waiting.setdefault(user, deque()).append(request)
        self.waiting += 1
        if self.waiting <= self._max_waiting:
            return None
        greediest = max(reversed(self._waiting), key=lambda user: len(self._waiting[user]))
        dropped = self._waiting[greediest].pop()
        self._removed(greediest)
        return dropped

    def discard(self, user: User, request: T) -> None:
        """Removes a request that gave up. Does nothing if it does not wait."""
        if request in self._waiting.get(user, ()):
            self._waiting[user].remove(request)
            self._removed(user)

    def start(self) -> tuple[User, T] | None:
        """Gives a slot to the next request until `finish`, and returns it. Returns None if none can start."""
        if self._running.total() >= self._slots:
            return None
        for user, requests in self._waiting.items():
            if self._running[user] < self._slots_per_user:
                request = requests.popleft()
                self._running[user] += 1
                self._removed(user)
                if requests:
                    self._waiting[user] = self._waiting.pop(user)  # to the end of the line
                return user, request
        return None

    def finish(self, user: User) -> None:
        """Frees the slot of a request of this user."""
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]

    def _removed(self, user: User) -> None:
        self.waiting -= 1
        if not self._waiting[user]:
            del self._waiting[user]
