"""Kafka: one consumer of both topics, and what it says of where it stands."""

import asyncio
from collections.abc import Collection, Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaConnectionError, KafkaError

from livebalance.projector import metrics
from livebalance.projector.fold.lane import FetchStatus, LaneSide, OwnedLane
from livebalance.projector.settings import ProjectorSettings
from livebalance.runtime import logs
from livebalance.runtime.kafka.fetch import fetch, fetch_evenly
from livebalance.runtime.kafka.lag import Lag
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.stall_detector import Ends, PartitionProgress
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.timestamp import Millis

_SECONDS = 5.0  # the longest wait for an answer of the broker
_COMMIT_SECONDS = 1.0
_NO_LIMIT = 2**31 - 1

_log = logs.get("intake")

Records = list[ConsumerRecord]


class PartitionState(NamedTuple):
    """What a broker tells of one partition: first offset, end of what is committed, the group's mark."""

    first: Offset
    end: Offset
    committed: Offset | None
    epoch: str  # the epoch the group's mark was made in


class LaneConsumer:
    """Owns the consumer. Errors are those of aiokafka, and TimeoutError."""

    def __init__(self, settings: ProjectorSettings) -> None:
        self._settings = settings
        self._topics = settings.transfers_topic, settings.balances_topic
        self._assignment = RebalanceListener()
        self._admin = AIOKafkaAdminClient(**settings.broker.options)
        self._consumer = AIOKafkaConsumer(
            **settings.broker.options,
            client_id=settings.name,
            group_id=settings.projector_group,
            group_instance_id=settings.group_instance_id,
            partition_assignment_strategy=[
                RangePartitionAssignor
            ],  # gives both sides of a lane to one member
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",  # never silently another place than the stored one
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.session_timeout_ms // 4,
            max_poll_interval_ms=_NO_LIMIT,  # the fence keeps owners apart, and a stalled loop ends itself
            fetch_max_wait_ms=250,
            retry_backoff_ms=250,
        )
        self._lag = Lag(self._consumer, metrics.lag)
        self._backlog = False  # the last fetch may have left something at hand
        self._ends: dict[TopicPartition, Offset] = {}  # as the broker told them last

    async def start(self) -> None:
        self._consumer.subscribe(self._topics, listener=self._assignment)
        await self._admin.start()
        await self._consumer.start()

    async def stop(self) -> None:
        await self._consumer.stop()
        await self._admin.close()

    @property
    def number(self) -> int:
        """Of the assignment in force: what was read under another one is not to be used."""
        return self._assignment.number

    def assigned(self) -> list[Lane]:
        """The lanes of which both sides are assigned, in order."""
        transfers, balances = (
            {at.partition for at in self._assignment.partitions if at.topic == topic}
            for topic in self._topics
        )
        if transfers != balances:
            _log.error("assigned one side only", lanes=sorted(transfers ^ balances))
        return [Lane(number) for number in sorted(transfers & balances)]

    async def logs(self, lanes: Iterable[Lane]) -> dict[TopicPartition, PartitionState]:
        """Both sides of each lane, as the broker knows them now."""
        sides = [side for lane in lanes for side in self._sides(lane)]
        async with asyncio.timeout(_SECONDS):
            first = await self._consumer.beginning_offsets(sides)
            end = await self._consumer.end_offsets(sides)
            marks = await self._admin.list_consumer_group_offsets(
                self._settings.projector_group, partitions=sides
            )
        if marks.keys() != set(sides):
            raise KafkaConnectionError("the group's coordinator is not ready")
        self._ends = end
        return {
            at: PartitionState(
                first[at], end[at], None if marks[at].offset < 0 else marks[at].offset, marks[at].metadata
            )
            for at in sides
        }

    def seek(self, lane: OwnedLane) -> None:
        """Reads on from where the lane stands."""
        for at, side in self._standing(lane):
            self._consumer.seek(at, side.begin)
            self._consumer.resume(at)  # it may have been left out
        self._backlog = True

    def leave_out(self, lane: OwnedLane) -> None:
        """Fetches nothing of it: what nobody takes would hold up the others."""
        self._consumer.pause(*self._sides(lane.lane))
        for at, side in self._standing(lane):
            self._lag.stopped(at, side.next, self._ends.get(at, side.next))

    # --- how far behind

    def follow(self, lanes: Iterable[Lane]) -> None:
        """How far these are behind is shown from now on, and of no others."""
        self._lag.follow(at for lane in lanes for at in self._sides(lane))

    async def applied(self, lanes: Iterable[OwnedLane]) -> None:
        """All that was fetched of these is applied, and their assignment is still in force."""
        for lane in lanes:
            for at, side in self._standing(lane):
                await self._lag.done(at, side.next, side.applied_at)

    # --- one fetch

    async def fetch(self, lanes: Collection[Lane]) -> dict[Lane, tuple[Records, Records]]:
        """What these lanes have by now, waiting for a short time; maybe nothing."""
        if not lanes:
            await asyncio.sleep(self._settings.fetch_wait_ms / 4000)
            return {}
        ready = [side for lane in lanes for side in self._sides(lane)]
        found, most = {}, self._settings.batch_records
        if self._backlog:
            found = await fetch_evenly(self._consumer, ready, most)
        if not found:
            found = await fetch(self._consumer, ready, self._settings.fetch_wait_ms, most)
        self._backlog = sum(map(len, found.values())) >= most
        return {
            lane: (found.get(sides[0], []), found.get(sides[1], []))
            for lane in lanes
            if not found.keys().isdisjoint(sides := self._sides(lane))
        }

    async def polls(self, lane: Lane) -> tuple[FetchStatus, FetchStatus]:
        """How both sides stood at the last fetch. Waits for nothing while the assignment is in force."""
        transfers, balances = self._sides(lane)
        return await self._poll(transfers), await self._poll(balances)

    async def _poll(self, at: TopicPartition) -> FetchStatus:
        if at not in self._consumer.assignment():  # it was taken away a moment ago: to ask would be a bug
            return FetchStatus(False, None)
        end, answered = self._consumer.last_stable_offset(at), self._consumer.last_poll_timestamp(at)
        if end is None or answered is None:
            return FetchStatus(False, None)
        told = Millis(answered - int(self._lag.held_back(at) * 1000))  # what came since may not be read yet
        return FetchStatus(await self._consumer.position(at) >= end, told)

    def places(self, lanes: Iterable[OwnedLane]) -> dict[TopicPartition, PartitionProgress]:
        """Of both sides of each, when the broker last answered a fetch, and what Postgres has of it."""
        mine = self._assignment.partitions & self._consumer.assignment()
        return {
            at: PartitionProgress(self._consumer.last_poll_timestamp(at), side.next)
            for lane in lanes
            for at, side in zip(self._sides(lane.lane), (lane.transfers, lane.balances), strict=True)
            if at in mine
        }

    async def ends(self, of: Collection[TopicPartition]) -> Ends:
        """Up to where they can be read, asked of the broker itself."""
        ends: Ends = await self._consumer.end_offsets(of)
        return ends

    async def mark(self, lanes: Iterable[OwnedLane]) -> None:
        """Commits where these lanes stand to the group: for lag tools, and as a witness."""
        marks = {at: (side.next, lane.epoch) for lane in lanes for at, side in self._standing(lane)}
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await self._consumer.commit(marks)
        except (KafkaError, TimeoutError) as error:
            _log.warning("the group's offsets were not committed", error=repr(error))

    def _standing(self, lane: OwnedLane) -> Iterable[tuple[TopicPartition, LaneSide]]:
        return zip(self._sides(lane.lane), (lane.transfers, lane.balances), strict=True)

    def _sides(self, lane: Lane) -> tuple[TopicPartition, TopicPartition]:
        return TopicPartition(self._topics[0], lane), TopicPartition(self._topics[1], lane)
