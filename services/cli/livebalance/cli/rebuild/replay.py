"""Replays Kafka into the shadow: a projector in a process of its own, up to given offsets."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli.errors import UserError
from livebalance.cli.rebuild.progress import ReplayProgress, ReplayRate
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.rebuild import comparison
from livebalance.readmodel.rebuild.rows import LaneEnd
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.reader import read_next
from livebalance.stack.process.process import ChildProcess
from livebalance.wire.identity import Lane, Offset

_POLL_SECONDS = 0.2
_SHOW_SECONDS = 1.0
_QUIET_SECONDS = 1.0  # without progress; then Kafka is asked whether records are left
_STUCK_SECONDS = 120.0
_KAFKA_SECONDS = 10.0

Lanes = Mapping[Lane, LaneEnd]
Show = Callable[[ReplayProgress], None]


class Replay:
    """Runs projectors on the shadow. An interrupted replay continues where the shadow's lanes stand."""

    def __init__(
        self, settings: ServiceSettings, shadow: Connection, environment: Mapping[str, str], log: Path
    ) -> None:
        """`environment` has the settings of the projector that differ from those of the environment."""
        self._settings, self._shadow, self._environment, self._log = settings, shadow, environment, log

    async def run(self, ends: Lanes, show: Show) -> None:
        """Applies all records before the offsets `ends`, and none from there on.

        Raises:
            UserError: A lane is halted, or nothing was applied for two minutes.
            StackError: The projector has ended.
        """
        if not _short_sides(await comparison.read_lanes(self._shadow), ends, self._settings):
            return
        child = self._projector(ends)
        child.start()
        try:
            await self._wait(child, ends, show)
        finally:
            child.stop()

    def _projector(self, ends: Lanes) -> ChildProcess:
        until = ",".join(f"{lane}:{end.transfers}:{end.balances}" for lane, end in ends.items())
        environment = {**os.environ, **self._environment, "LIVEBALANCE_READ_UNTIL": until}
        return ChildProcess(
            "projector", [sys.executable, "-m", "livebalance.projector"], self._log, environment
        )

    async def _wait(self, child: ChildProcess, ends: Lanes, show: Show) -> None:
        rate, lanes = ReplayRate(ends), await comparison.read_lanes(self._shadow)
        moved_at = asked_at = shown_at = time.monotonic()
        show(rate.sample(lanes, shown_at))
        while short := _short_sides(lanes, ends, self._settings):
            if child.pid is None:
                raise child.error(f"stopped with {child.exit_code}")
            await asyncio.sleep(_POLL_SECONDS)
            before, lanes, now = lanes, await comparison.read_lanes(self._shadow), time.monotonic()
            _raise_if_halted(lanes)
            moved_at = now if lanes != before else moved_at
            if now - max(moved_at, asked_at) > _QUIET_SECONDS:
                if not await self._any_left(short):
                    break
                asked_at = time.monotonic()
            if now - moved_at > _STUCK_SECONDS:
                raise UserError(f"the replay has applied nothing for {_STUCK_SECONDS:.0f} s: see {self._log}")
            if now - shown_at >= _SHOW_SECONDS:
                shown_at = now
                show(rate.sample(lanes, now))
        show(rate.sample(lanes, time.monotonic()))

    async def _any_left(self, short: Mapping[TopicPartition, tuple[int, int]]) -> bool:
        """Returns whether records are left to apply. The last of them may have been compacted."""
        for partition, (offset, end) in short.items():
            try:
                record = await read_next(self._settings.broker, partition, offset, _KAFKA_SECONDS)
            except (KafkaError, OSError) as cause:  # includes TimeoutError
                raise UserError(f"{self._settings.kafka}: {str(cause) or type(cause).__name__}") from cause
            if record is not None and record.offset < end:
                return True
        return False


def _short_sides(
    lanes: Lanes, ends: Lanes, settings: ServiceSettings
) -> dict[TopicPartition, tuple[int, int]]:
    """Returns the partitions that are not at their end: the next offset of each, and the end."""
    start = LaneEnd(Offset(0), Offset(0))
    short = dict[TopicPartition, tuple[int, int]]()
    for id_, end in ends.items():
        lane = lanes.get(id_, start)
        if lane.transfers < end.transfers:
            short[TopicPartition(settings.transfers_topic, id_)] = lane.transfers, end.transfers
        if lane.balances < end.balances:
            short[TopicPartition(settings.balances_topic, id_)] = lane.balances, end.balances
    return short


def _raise_if_halted(lanes: Lanes) -> None:
    for lane, row in lanes.items():
        if row.halted_why is not None:
            raise UserError(
                f"lane {lane} of the shadow is halted: {row.halted_why}; see docs/operations.md#rebuild"
            )
