"""Which reads go in the next statement, and when: the admission to Postgres.

Joins and resumes wait apart, each up to a bound, and resumes go first: their clients already show something,
and only they come by the thousand at once. A full statement goes at once. One that is not waits a moment for
more; one of resumes alone longer, once many have gone: who comes back a quarter of a second later than it
could does not see it, and Postgres answers a gateway's worth of clients with a few dozen statements.
"""

from collections import deque
from collections.abc import Sequence

from livebalance.gateway.limits.rate import RateLimiter
from livebalance.gateway.live.effects import AccountRead

PAIRS = 256  # of account and position in one statement
GATHER = 0.002  # seconds
RESUMES, RESUMES_AT_ONCE = 4, 16  # statements that are not full, a second


class _Queue:
    """First come, first served."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reads: deque[tuple[AccountRead, float]] = deque()
        self.pairs = 0

    def ask(self, read: AccountRead, now: float) -> bool:
        """False: there is no room."""
        if len(self._reads) >= self._limit:
            return False
        self._reads.append((read, now))
        self.pairs += len(read.afters)
        return True

    @property
    def since(self) -> float | None:
        """When the first came; None: nobody waits."""
        return self._reads[0][1] if self._reads else None

    def fill(self, some: list[AccountRead], room: int) -> int:
        """Moves to `some` what there is room for, and returns what room is left. An empty one takes any."""
        while self._reads and ((size := len(self._reads[0][0].afters)) <= room or not some):
            some.append(self._reads.popleft()[0])
            self.pairs -= size
            room -= size
        return room


class ReadQueue:
    """Pure: times in seconds."""

    def __init__(self, per_second: int, waiting: int) -> None:
        """Reads a second; and how many joins, and how many resumes, may wait."""
        self._joins, self._resumes = _Queue(waiting), _Queue(waiting)
        self._reads = RateLimiter(per_second, 2 * PAIRS)
        self._statements = RateLimiter(RESUMES, RESUMES_AT_ONCE)

    def ask(self, wanted: Sequence[AccountRead], now: float) -> list[AccountRead]:
        """Returns those that found no room: they fail."""
        return [one for one in wanted if not self._line(one).ask(one, now)]

    def _line(self, read: AccountRead) -> _Queue:
        return self._joins if read.afters == {None} else self._resumes

    def next(self, now: float) -> list[AccountRead] | float | None:
        """The reads of the next statement; or the seconds until there may be one; None: nobody waits."""
        wait = self._wait(now)
        if wait != 0.0:
            return wait
        some: list[AccountRead] = []
        self._joins.fill(some, self._resumes.fill(some, PAIRS))
        self._reads.owe(now, len(some))
        return some

    def _wait(self, now: float) -> float | None:
        """0: a statement may go."""
        if (first := _first(self._joins.since, self._resumes.since)) is None:
            return None
        if wait := self._reads.wait(now, 0):
            return wait
        if self._joins.pairs + self._resumes.pairs >= PAIRS:
            return 0.0
        if (wait := first + GATHER - now) > 0:
            return wait
        joined = self._joins.since is not None and self._joins.since + GATHER <= now
        return 0.0 if joined else self._statements.take(now)


def _first(*times: float | None) -> float | None:
    return min((one for one in times if one is not None), default=None)
