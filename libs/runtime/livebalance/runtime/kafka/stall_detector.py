"""Detects a loop that no longer makes progress with records of Kafka. A separate task checks it.

A loop has stalled if records wait at the broker while the loop ends no iteration, or while the broker answers
none of its fetches: aiokafka can stop fetching after a rebalance, without an error.

A loop has not stalled while its broker is unavailable, because then nobody knows whether records wait. Nor
has it stalled while its database is unavailable: iterations end with an error, and partitions are released.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Hashable, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

Key = TypeVar("Key", bound=Hashable)

MAX_STEP_SECONDS = 1.0  # most that a check adds to a silence, because a paused process has not waited


class SilenceTimer(Generic[Key]):
    """Measures for how long each key has had no new answer."""

    def __init__(self, limit_seconds: float, now: float) -> None:
        self._limit, self._now = limit_seconds, now
        self._answers: dict[Key, int | None] = {}
        self._silence: dict[Key, float] = {}  # seconds

    def update(self, answers: Mapping[Key, int | None], now: float) -> set[Key]:
        """Returns the keys that have had no new answer for the limit. Called about every second.

        Args:
            answers: A number per key that changes with each answer. A key that is missing is forgotten.
            now: Monotonic time in seconds.
        """
        step, self._now = min(now - self._now, MAX_STEP_SECONDS), now
        self._silence = {
            key: self._silence[key] + step if self._is_unchanged(key, answer) else 0.0
            for key, answer in answers.items()
        }
        self._answers = dict(answers)
        return {key for key, silence in self._silence.items() if silence >= self._limit}

    def _is_unchanged(self, key: Key, answer: int | None) -> bool:
        return key in self._silence and self._answers[key] == answer


_CHECK_INTERVAL_SECONDS = 0.5
_QUERY_TIMEOUT_SECONDS = 2.0
_SUSPECT_SECONDS = 10.0  # silence after which the broker is asked whether records wait
_STALLED_SECONDS = (
    60.0  # stall after which the liveness probe fails; longer than all deadlines of an iteration
)
_EXIT_SECONDS = 90.0  # stall after which the process ends itself, in case nothing uses the probe

EndOffsets = Mapping[TopicPartition, int]


class PartitionProgress(NamedTuple):
    """Where a loop stands in a partition."""

    last_answer: int | None  # time of the broker's last answer to a fetch, in any unit
    next_offset: int  # offset after the last processed record


class ConsumerLoop(Protocol):
    """The loop to check."""

    @property
    def iterations(self) -> int:
        """Number of iterations that have ended, successfully or not."""

    def partition_progress(self) -> Mapping[TopicPartition, PartitionProgress]:
        """Returns the progress of the partitions that are read; empty while the loop prepares to read."""

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> EndOffsets:
        """Asks the broker for the last stable offsets. Raises KafkaError."""


class StalledError(Exception):
    """Records have waited longer than any deadline allows: only a new process helps."""


class StallDetector:
    """Checks a loop. `unready_reason` and `stalled_reason` are answers for probes, None if all is well."""

    def __init__(self, loop: ConsumerLoop, now: float) -> None:
        self._loop = loop
        # The key None is the loop itself.
        self._silence_timer = SilenceTimer[TopicPartition | None](_SUSPECT_SECONDS, now)
        self._now, self._stalled_seconds = now, 0.0
        self.unready_reason: str | None = None

    @property
    def stalled_reason(self) -> str | None:
        """Why only a new process helps, or None."""
        return self.unready_reason if self._stalled_seconds >= _STALLED_SECONDS else None

    async def check(self, now: float) -> None:
        """Checks the loop once. Called about every second. Raises StalledError if the process must end."""
        step, self._now = min(now - self._now, MAX_STEP_SECONDS), now
        silent = self._silent(now)
        stall = await self._find_stall(silent) if silent else ""
        self._stalled_seconds = self._stalled_seconds + step if stall else 0.0
        if stall is None:
            self.unready_reason = "kafka does not answer"
        else:
            self.unready_reason = f"{stall} although records wait" if stall else None
        if self._stalled_seconds >= _EXIT_SECONDS:
            raise StalledError(self.unready_reason)

    def _silent(self, now: float) -> set[TopicPartition | None]:
        progress = self._loop.partition_progress()
        answers: dict[TopicPartition | None, int | None] = {
            partition: state.last_answer for partition, state in progress.items()
        }
        return self._silence_timer.update({None: self._loop.iterations, **answers} if progress else {}, now)

    async def _find_stall(self, silent: Collection[TopicPartition | None]) -> str | None:
        """Returns what makes no progress while records wait, "" for nothing, None if the broker is silent."""
        loop_is_silent = None in silent
        suspects = list(self._loop.partition_progress()) if loop_is_silent else [at for at in silent if at]
        try:
            async with asyncio.timeout(_QUERY_TIMEOUT_SECONDS):
                ends = await self._loop.end_offsets(suspects)
        except (KafkaError, TimeoutError):
            return None
        progress = self._loop.partition_progress()  # it may have changed while the broker was asked
        if not any(
            ends[partition] > progress[partition].next_offset
            for partition in suspects
            if partition in progress
        ):
            return ""
        return "nothing processed" if loop_is_silent else "nothing fetched"

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """Checks the loop while the block runs. Ends the block with StalledError if the process must end."""
        block = asyncio.current_task()
        assert block
        checking = asyncio.create_task(self._check_repeatedly(block))
        try:
            yield
        except asyncio.CancelledError:
            if checking.done() and (stalled := checking.exception()) and not block.uncancel():
                raise stalled from None
            raise
        finally:
            checking.cancel()

    async def _check_repeatedly(self, block: asyncio.Task[None]) -> None:
        try:
            while True:
                await asyncio.sleep(_CHECK_INTERVAL_SECONDS)
                await self.check(time.monotonic())
        except Exception:
            block.cancel()
            raise
