"""Decides which account reads go into the next statement, and when.

Resume and subscribe reads wait in two bounded queues. Resume reads go first: their clients already show data,
and only resumes come by the thousand at once. A full statement goes at once. Other statements wait a moment
for more reads. Statements with only resume reads have a rate limit besides: after a burst they wait up to a
quarter of a second, which nobody sees. So a few dozen statements answer all clients of a gateway.
"""

from collections import deque
from collections.abc import Sequence

from livebalance.gateway.limits.rate import RateLimiter
from livebalance.gateway.live.effects import AccountRead

MAX_PAIRS = 256  # of account and position, in one statement
GATHER_SECONDS = 0.002
RESUMES_PER_SECOND, RESUMES_BURST = 4, 16  # statements that are not full and have only resume reads


class _Queue:
    """Reads in the order in which they were added, with the time of each."""

    def __init__(self, max_reads: int) -> None:
        self._max_reads = max_reads
        self._reads: deque[tuple[AccountRead, float]] = deque()
        self.pairs = 0

    def add(self, read: AccountRead, now: float) -> bool:
        """Adds a read, or returns False if the queue is full."""
        if len(self._reads) >= self._max_reads:
            return False
        self._reads.append((read, now))
        self.pairs += len(read.positions)
        return True

    @property
    def oldest(self) -> float | None:
        """When the first read was added, or None if the queue is empty."""
        return self._reads[0][1] if self._reads else None

    def pop_into(self, batch: list[AccountRead], room: int) -> int:
        """Moves reads into `batch` while they fit into `room` pairs, and returns the room that is left.

        An empty batch takes any read.
        """
        while self._reads and ((size := len(self._reads[0][0].positions)) <= room or not batch):
            batch.append(self._reads.popleft()[0])
            self.pairs -= size
            room -= size
        return room


class ReadQueue:
    """The two queues, and the rate limits of reads and statements. Times are in seconds."""

    def __init__(self, per_second: int, max_reads: int) -> None:
        """Lets `per_second` reads go. Queues up to `max_reads` resume reads, and as many subscribe reads."""
        self._subscribes, self._resumes = _Queue(max_reads), _Queue(max_reads)
        self._reads = RateLimiter(per_second, 2 * MAX_PAIRS)
        self._statements = RateLimiter(RESUMES_PER_SECOND, RESUMES_BURST)

    def add(self, reads: Sequence[AccountRead], now: float) -> list[AccountRead]:
        """Queues reads, and returns those for which there is no room."""
        return [read for read in reads if not self._queue_of(read).add(read, now)]

    def _queue_of(self, read: AccountRead) -> _Queue:
        return self._subscribes if read.positions == {None} else self._resumes

    def pop(self, now: float) -> list[AccountRead] | float | None:
        """Returns the reads of the next statement.

        Instead returns the seconds until a statement may go, or None if both queues are empty.
        """
        wait = self._wait(now)
        if wait != 0.0:
            return wait
        batch: list[AccountRead] = []
        self._subscribes.pop_into(batch, self._resumes.pop_into(batch, MAX_PAIRS))
        self._reads.consume(now, len(batch))
        return batch

    def _wait(self, now: float) -> float | None:
        """Returns the seconds until a statement may go."""
        if (oldest := _earliest(self._subscribes.oldest, self._resumes.oldest)) is None:
            return None
        if wait := self._reads.wait(now, 0):
            return wait
        if self._subscribes.pairs + self._resumes.pairs >= MAX_PAIRS:
            return 0.0
        if (wait := oldest + GATHER_SECONDS - now) > 0:
            return wait
        subscribe_due = (
            self._subscribes.oldest is not None and self._subscribes.oldest + GATHER_SECONDS <= now
        )
        return 0.0 if subscribe_due else self._statements.try_acquire(now)


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
