"""The Kafka consumer of both topics, seen as lanes: assignment, fetches, offsets and lag."""

import asyncio
from collections.abc import Collection, Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaConnectionError, KafkaError

from livebalance.projector import metrics
from livebalance.projector.fold.lane import FetchStatus, LaneSide, OwnedLane
from livebalance.projector.kafka.lifecycle import LifecycleConsumer
from livebalance.projector.kafka.partition_state import PartitionState
from livebalance.projector.settings import ProjectorSettings
from livebalance.runtime import logs
from livebalance.runtime.kafka.fetch import Fetched, fetch, fetch_evenly
from livebalance.runtime.kafka.lag import Lag
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.stall_detector import EndOffsets, PartitionProgress
from livebalance.runtime.kafka.topic_watch import TopicWatch
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import Millis

_BROKER_TIMEOUT_SECONDS = 5.0
_COMMIT_TIMEOUT_SECONDS = 1.0
_METADATA_AGE_MS = 5_000  # after which the group assigns partitions that are new, or of a new topic
_NO_LIMIT = 2**31 - 1

_log = logs.get("consumer")

Records = list[RawRecord]


class LaneConsumer:
    """The projector's consumer. Its methods raise the errors of aiokafka, and TimeoutError."""

    def __init__(self, settings: ProjectorSettings, lifecycle: LifecycleConsumer | None = None) -> None:
        self._settings, self.lifecycle = settings, lifecycle
        self._topics = settings.transfers_topic, settings.balances_topic
        self._assignment = RebalanceListener()
        watched = self._topics if lifecycle is None else (*self._topics, lifecycle.topic)
        self.topic_watch = TopicWatch(settings.broker, watched)
        self._admin = AIOKafkaAdminClient(**settings.broker.options)
        self._consumer = AIOKafkaConsumer(
            **settings.broker.options,
            client_id=settings.name,
            group_id=settings.projector_group,
            group_instance_id=settings.group_instance_id,
            # Assigns both sides of a lane to the same member.
            partition_assignment_strategy=[RangePartitionAssignor],
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",  # only the offsets stored in Postgres count
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.session_timeout_ms // 4,
            max_poll_interval_ms=_NO_LIMIT,  # the fence keeps owners apart; StallDetector ends a stalled loop
            fetch_max_wait_ms=250,
            retry_backoff_ms=250,
            metadata_max_age_ms=_METADATA_AGE_MS,
        )
        self._lag = Lag(self._consumer, metrics.lag)
        self.has_backlog = False  # the last fetch may have left records in the client
        self._end_offsets: dict[TopicPartition, Offset] = {}  # as the broker last reported them
        self._read_until = {TopicPartition(*key): end for key, end in settings.end_offsets().items()}
        self._ended = set[TopicPartition]()  # whose records that follow are not read

    async def start(self) -> None:
        """Connects and joins the consumer group."""
        self._consumer.subscribe(self._topics, listener=self._assignment)
        await self._admin.start()
        await self.topic_watch.start()
        if self.lifecycle is not None:
            await self.lifecycle.start()
        await self._consumer.start()

    async def stop(self) -> None:
        """Leaves the group and disconnects."""
        await self._consumer.stop()
        if self.lifecycle is not None:
            await self.lifecycle.stop()
        await self.topic_watch.stop()
        await self._admin.close()

    @property
    def assignment_number(self) -> int:
        """The number of the assignment in force. Records fetched under another number must be discarded."""
        return self._assignment.number

    @property
    def awaits_assignment(self) -> bool:
        """Whether the group has not assigned lanes, or no lanes, to this process since its last change."""
        return not self._assignment.settled

    @property
    def is_idle(self) -> bool:
        """Whether the group has assigned no partition to this process: it has more members than lanes."""
        return self._assignment.settled and not self._assignment.partitions

    def assigned(self) -> list[Lane]:
        """Returns the lanes whose two sides are both assigned, in ascending order."""
        transfers, balances = (
            {partition.partition for partition in self._assignment.partitions if partition.topic == topic}
            for topic in self._topics
        )
        if transfers != balances:
            _log.error("lane side not assigned", lanes=sorted(transfers ^ balances))
        return [Lane(number) for number in sorted(transfers & balances)]

    async def partition_states(self, lanes: Iterable[Lane]) -> dict[TopicPartition, PartitionState]:
        """Requests the offsets of both sides of each lane from the broker."""
        partitions = [partition for lane in lanes for partition in self._partitions(lane)]
        async with asyncio.timeout(_BROKER_TIMEOUT_SECONDS):
            first = await self._consumer.beginning_offsets(partitions)
            end = await self._consumer.end_offsets(partitions)
            committed = await self._admin.list_consumer_group_offsets(
                self._settings.projector_group, partitions=partitions
            )
        if committed.keys() != set(partitions):
            raise KafkaConnectionError("the group's coordinator is not ready")
        self._end_offsets = end
        return {
            partition: PartitionState(
                first[partition],
                end[partition],
                None if committed[partition].offset < 0 else committed[partition].offset,
                committed[partition].metadata,
            )
            for partition in partitions
        }

    def seek(self, lane: OwnedLane) -> None:
        """Sets the next fetch of a lane to its stored offsets."""
        for partition, side in self._sides(lane):
            self._consumer.seek(partition, side.seek_offset)
            self._consumer.resume(partition)  # an earlier claim may have paused it
        self.has_backlog = True

    def pause(self, lane: OwnedLane) -> None:
        """Stops fetching a lane: records that nobody applies would block those of other lanes."""
        self._consumer.pause(*self._partitions(lane.lane))
        for partition, side in self._sides(lane):
            self._lag.halt(partition, side.next, self._end_offsets.get(partition, side.next))

    def hold_back(self, lane: OwnedLane) -> None:
        """Discards what was fetched of a lane but not applied, and fetches no more until `resume`."""
        for partition, side in self._sides(lane):
            self._consumer.pause(partition)
            self._consumer.seek(partition, side.next)

    def resume(self, lane: Lane) -> None:
        """Fetches a lane that was held back."""
        self._consumer.resume(*self._partitions(lane))

    # --- lag

    def track_lag(self, lanes: Iterable[Lane]) -> None:
        """Shows the lag of these lanes from now on, and of no other lanes."""
        self._lag.track(partition for lane in lanes for partition in self._partitions(lane))

    async def record_applied(self, lanes: Iterable[OwnedLane]) -> None:
        """Records that everything fetched of these lanes is applied. Expects their assignment in force."""
        for lane in lanes:
            for partition, side in self._sides(lane):
                await self._lag.advance(partition, side.next, side.applied_at)

    # --- fetching

    async def fetch(self, lanes: Collection[Lane]) -> dict[Lane, tuple[Records, Records]]:
        """Returns the records that have arrived, waiting up to `fetch_wait_ms` if there are none.

        At most `batch_records` in total: for each lane that has any, its transfers and its balances.
        """
        if not lanes:
            await asyncio.sleep(self._settings.fetch_wait_ms / 4000)
            return {}
        partitions = [partition for lane in lanes for partition in self._partitions(lane)]
        fetched, limit = {}, self._settings.batch_records
        if self.has_backlog:
            fetched = await fetch_evenly(self._consumer, partitions, limit)
        if not fetched:
            fetched = await fetch(self._consumer, partitions, self._settings.fetch_wait_ms, limit)
        self.has_backlog = sum(map(len, fetched.values())) >= limit
        self._end_partitions(fetched)
        return {
            lane: (fetched.get(sides[0], []), fetched.get(sides[1], []))
            for lane in lanes
            if not fetched.keys().isdisjoint(sides := self._partitions(lane))
        }

    def _end_partitions(self, fetched: Fetched) -> None:
        """Removes records that `read_until` excludes, and stops fetching their partitions."""
        for partition, end in self._read_until.items():
            records = fetched.get(partition)
            if records and records[-1].offset >= end:
                fetched[partition] = [record for record in records if record.offset < end]
                self._consumer.pause(partition)
                self._ended.add(partition)

    async def fetch_statuses(self, lane: Lane) -> tuple[FetchStatus, FetchStatus]:
        """Returns the state of both sides at the last fetch, without asking the broker."""
        transfers, balances = self._partitions(lane)
        return await self._fetch_status(transfers), await self._fetch_status(balances)

    async def _fetch_status(self, partition: TopicPartition) -> FetchStatus:
        if partition not in self._consumer.assignment():  # just revoked: aiokafka would raise
            return FetchStatus(False, None)
        end = self._consumer.last_stable_offset(partition)
        answered = self._consumer.last_poll_timestamp(partition)
        if end is None or answered is None:
            return FetchStatus(False, None)
        # Records that arrived after an open transaction began cannot be read yet.
        answered -= int(self._lag.open_transaction_seconds(partition) * 1000)
        # Records that arrived after the topics were compared may be in new partitions, or in other topics.
        answered_at = Millis(min(answered, self.topic_watch.read_at))
        return FetchStatus(await self._consumer.position(partition) >= end, answered_at)

    def partition_progress(self, lanes: Iterable[OwnedLane]) -> dict[TopicPartition, PartitionProgress]:
        """Returns, for each assigned partition of `lanes`, the last answer's time and the applied offset."""
        assigned = self._assignment.partitions & self._consumer.assignment()
        fetching = assigned - self._ended
        return {
            partition: PartitionProgress(self._consumer.last_poll_timestamp(partition), side.next)
            for lane in lanes
            for partition, side in self._sides(lane)
            if partition in fetching
        }

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> EndOffsets:
        """Requests the last stable offset of each partition from the broker."""
        ends: EndOffsets = await self._consumer.end_offsets(partitions)
        return ends

    async def commit(self, lanes: Iterable[OwnedLane]) -> None:
        """Commits the lanes' offsets to the consumer group, with the epoch as metadata.

        Lag tools read these offsets, and a claim compares them with Postgres (docs/guarantees.md#epoch).
        A commit that fails is only logged.
        """
        offsets = {
            partition: (side.next, lane.epoch) for lane in lanes for partition, side in self._sides(lane)
        }
        try:
            async with asyncio.timeout(_COMMIT_TIMEOUT_SECONDS):
                await self._consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            _log.warning("offset commit failed", error=repr(error))

    def _sides(self, lane: OwnedLane) -> Iterable[tuple[TopicPartition, LaneSide]]:
        return zip(self._partitions(lane.lane), (lane.transfers, lane.balances), strict=True)

    def _partitions(self, lane: Lane) -> tuple[TopicPartition, TopicPartition]:
        return TopicPartition(self._topics[0], lane), TopicPartition(self._topics[1], lane)
