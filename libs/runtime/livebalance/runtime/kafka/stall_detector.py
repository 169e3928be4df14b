"""Whether a loop that reads from Kafka gets on, seen from beside it: what hangs cannot say so itself.

It does not when records wait at the broker and it either ends no turn or is not answered a fetch: aiokafka
can stop fetching after a rebalance, without a signal. A broker that is away is no standstill: who would say
that there is more? Nor is a database that is away: turns end all the same, badly, and what is owned is given
up.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Hashable, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

Name = TypeVar("Name", bound=Hashable)

STEP = 1.0  # seconds that one look may add: a process that was paused has not waited


class SilenceTimer(Generic[Name]):
    """Counts the silence of each partition, in seconds."""

    def __init__(self, patience: float, now: float) -> None:
        self._patience, self._now = patience, now
        self._answered: dict[Name, int | None] = {}
        self._silence: dict[Name, float] = {}

    def silent(self, answered: Mapping[Name, int | None], now: float) -> set[Name]:
        """Those whose last answer (`answered`: a time of any kind) has not changed for the whole patience.

        To be asked again and again; a partition that is left out is forgotten.
        """
        step, self._now = min(now - self._now, STEP), now
        self._silence = {
            name: self._silence[name] + step if self._heard_before(name, answer) else 0.0
            for name, answer in answered.items()
        }
        self._answered = dict(answered)
        return {name for name, silence in self._silence.items() if silence >= self._patience}

    def _heard_before(self, name: Name, answer: int | None) -> bool:
        return name in self._silence and self._answered[name] == answer


_LOOK_SECONDS = 0.5
_ASK_SECONDS = 2.0
_SUSPECT = 10.0  # seconds of silence, before the broker is asked
_STALLED = 60.0  # more than all deadlines of one turn: a probe is told
_GIVE_UP = 90.0  # and whom no probe looks at ends itself

Ends = Mapping[TopicPartition, int]


class PartitionProgress(NamedTuple):
    """Where a loop stands in one partition."""

    answered: int | None  # when the broker last answered a fetch of it, in any unit
    taken: int  # the offset after the last record that is done with


class ConsumerLoop(Protocol):
    """What is watched."""

    @property
    def turns(self) -> int:
        """Grows with each turn that ended, well or badly."""

    def places(self) -> Mapping[TopicPartition, PartitionProgress]:
        """Of the partitions it reads; none while it prepares to, for however long."""

    async def ends(self, of: Collection[TopicPartition]) -> Ends:
        """Asks the broker how far they are stable. Raises what aiokafka does."""


class StalledError(Exception):
    """Records wait and are not taken, for longer than anything may last: only a new process helps."""


class StallDetector:
    """`suspicion`: why not all is well; `stalled`: why only a new process helps. None while all is well."""

    def __init__(self, loop: ConsumerLoop, now: float) -> None:
        self._loop = loop
        self._watchdog = SilenceTimer[TopicPartition | None](_SUSPECT, now)  # None: the loop itself
        self._now, self._waited = now, 0.0
        self.suspicion: str | None = None

    @property
    def stalled(self) -> str | None:
        return self.suspicion if self._waited >= _STALLED else None

    async def look(self, now: float) -> None:
        """To be called about every second. Raises StalledError when it is time to give up."""
        step, self._now = min(now - self._now, STEP), now
        silent = self._silent(now)
        waiting = await self._waiting(silent) if silent else ""
        self._waited = self._waited + step if waiting else 0.0
        if waiting is None:
            self.suspicion = "kafka does not answer"
        else:
            self.suspicion = f"{waiting} although there is more" if waiting else None
        if self._waited >= _GIVE_UP:
            raise StalledError(self.suspicion)

    def _silent(self, now: float) -> set[TopicPartition | None]:
        places = self._loop.places()
        heard: dict[TopicPartition | None, int | None] = {at: one.answered for at, one in places.items()}
        return self._watchdog.silent({None: self._loop.turns, **heard} if places else {}, now)

    async def _waiting(self, silent: Collection[TopicPartition | None]) -> str | None:
        """What stands still while records wait for it, in words; "": nothing; None: nobody knows."""
        asked = [at for at in silent if at] if None not in silent else list(self._loop.places())
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                ends = await self._loop.ends(asked)
        except (KafkaError, TimeoutError):
            return None
        places = self._loop.places()  # as they are by now
        if not any(ends[at] > places[at].taken for at in asked if at in places):
            return ""
        return "nothing done" if None in silent else "nothing fetched"

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watches while the block runs, and ends it by StalledError when it is time."""
        block = asyncio.current_task()
        assert block
        watching = asyncio.create_task(self._watch(block))
        try:
            yield
        except asyncio.CancelledError:
            if watching.done() and (stalled := watching.exception()) and not block.uncancel():
                raise stalled from None
            raise
        finally:
            watching.cancel()

    async def _watch(self, block: asyncio.Task[None]) -> None:
        try:
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                await self.look(time.monotonic())
        except Exception:
            block.cancel()
            raise
