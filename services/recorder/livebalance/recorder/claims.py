"""Claims partitions in the background. A restore can take long; other partitions are recorded meanwhile."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Set

from aiokafka import TopicPartition

_MAX_BACKOFF_SECONDS = 5.0

Claim = Callable[[], Awaitable[bool]]


def back_off_seconds(failures: int) -> float:
    """Returns for how long to wait after this number of failures in a row."""
    longest = min(_MAX_BACKOFF_SECONDS, 0.2 * 2 ** min(failures, 10))
    return random.uniform(longest / 4, longest)


class Claims:
    """The claims that are under way, each a task."""

    def __init__(self) -> None:
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._failures = Counter[TopicPartition]()  # in a row

    @property
    def under_way(self) -> Set[TopicPartition]:
        """The partitions of the claims. A partition stays here for a while after its claim has failed."""
        return self._tasks.keys()

    def start(self, at: TopicPartition, claim: Claim) -> None:
        """Starts a claim, which returns False if it is to be repeated later."""
        self._tasks[at] = asyncio.create_task(self._run(at, claim))

    async def _run(self, at: TopicPartition, claim: Claim) -> None:
        if await claim():
            del self._failures[at]
        else:
            self._failures[at] += 1
            await asyncio.sleep(back_off_seconds(self._failures[at]))

    def end(self) -> None:
        """Forgets the claims that have ended. Raises the bug of a claim."""
        for at, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[at]
                task.result()

    async def cancel(self, partitions: Iterable[TopicPartition]) -> None:
        """Cancels claims, and waits until they have ended."""
        tasks = [self._tasks.pop(at) for at in list(partitions)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
