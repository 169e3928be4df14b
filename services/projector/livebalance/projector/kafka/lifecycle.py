"""Reads the lanes' partitions of the lifecycle topic, outside the consumer group."""

import asyncio
import time
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.kafka.partition_state import PartitionState
from livebalance.projector.settings import ProjectorSettings
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.raw_record import RawRecord

_BROKER_TIMEOUT_SECONDS = 5.0
_PROGRESS_SECONDS = 10.0
_WAIT_MS = 20  # longest wait for records that a lane needs before it goes on


class LifecycleConsumer:
    """A consumer of the lifecycle topic. Its methods raise the errors of aiokafka, and TimeoutError."""

    def __init__(self, settings: ProjectorSettings, topic: str) -> None:
        self.topic = topic
        self._max_records = settings.batch_records
        self._consumer = AIOKafkaConsumer(
            **settings.broker.options,
            client_id=settings.name,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=250,
            retry_backoff_ms=250,
        )
        self._behind: dict[Lane, Offset] = {}  # the end that each lane must reach before it goes on
        self._progress_at = 0.0

    async def start(self) -> None:
        """Connects."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnects."""
        await self._consumer.stop()

    async def assign(self, lanes: Mapping[Lane, OwnedLane]) -> dict[TopicPartition, PartitionState]:
        """Reads these lanes from now on, each from its stored offset, and returns their partitions' offsets.

        The lanes are behind until they have reached the end that their partitions have now.
        """
        partitions = {self._partition(id_): lane for id_, lane in lanes.items()}
        self._behind, self._progress_at = {}, time.monotonic()
        self._consumer.assign(list(partitions))
        if not partitions:
            return {}
        async with asyncio.timeout(_BROKER_TIMEOUT_SECONDS):
            first = await self._consumer.beginning_offsets(list(partitions))
            end = await self._consumer.end_offsets(list(partitions))
        for partition, lane in partitions.items():
            assert lane.lifecycle is not None
            self._consumer.seek(partition, lane.lifecycle.next)
            if lane.lifecycle.next < end[partition]:
                self._behind[lane.lane] = end[partition]
        return {at: PartitionState(first[at], end[at]) for at in partitions}

    @property
    def any_behind(self) -> bool:
        """Whether a lane is behind."""
        return bool(self._behind)

    def is_behind(self, lane: Lane) -> bool:
        """Returns whether a lane must apply further records before it reads its other topics.

        What a balance or a transfer does depends on the openings and erasures that were there before the
        claim (docs/guarantees.md#opening).
        """
        return lane in self._behind

    async def fetch(self, lanes: Collection[Lane]) -> dict[Lane, list[RawRecord]]:
        """Returns records of these lanes. Waits only if one of them is behind.

        Raises:
            TimeoutError: A lane that is behind has got no further for 10 s.
        """
        behind = self._behind.keys() & set(lanes)
        partitions = [self._partition(lane) for lane in behind or lanes]
        if not partitions:
            return {}
        fetched = await self._consumer.getmany(
            *partitions, timeout_ms=_WAIT_MS if behind else 0, max_records=self._max_records
        )
        if fetched or not behind:
            self._progress_at = time.monotonic()
        elif time.monotonic() - self._progress_at > _PROGRESS_SECONDS:
            raise TimeoutError(f"{self.topic} returns no records to lanes that are behind")
        return {Lane(partition.partition): records for partition, records in fetched.items()}

    async def update_behind(self) -> None:
        """Lets lanes go on that have reached the end. Called after the fetched records are applied."""
        for lane, end in list(self._behind.items()):
            if await self._consumer.position(self._partition(lane)) >= end:
                del self._behind[lane]

    def _partition(self, lane: Lane) -> TopicPartition:
        return TopicPartition(self.topic, lane)
