"""Claims the assigned lanes: fences each, compares it with Kafka, and seeks to its stored offsets."""

from collections.abc import Collection, Mapping

from aiokafka import TopicPartition

from livebalance.projector.errors import FencedError
from livebalance.projector.fold.lane import (
    LaneSide,
    OwnedLane,
    changed_topic_reason,
    halt_move,
    owned_lane,
    unreadable_reason,
)
from livebalance.projector.kafka.consumer import LaneConsumer
from livebalance.projector.kafka.partition_state import PartitionState
from livebalance.projector.postgres.epoch import change_epoch
from livebalance.projector.postgres.store import Store
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import TopicIds
from livebalance.runtime import logs
from livebalance.runtime.kafka.topic_identity import TopicIdentity
from livebalance.wire.identity import Lane

_log = logs.get("claim")


async def claim_lanes(
    settings: ProjectorSettings, consumer: LaneConsumer, store: Store
) -> dict[Lane, OwnedLane]:
    """Claims every lane that is assigned now (decision 8). Halted lanes are claimed too, and paused.

    A lane that the projection does not have is left out: its topic has got more partitions, which halts the
    other lanes.

    Raises:
        FencedError: the epoch changed, or the assignment changed during the claim.
    """
    number = consumer.assignment_number
    topics = settings.transfers_topic, settings.balances_topic
    lifecycle = consumer.lifecycle
    assigned = [lane for lane in consumer.assigned() if lane < store.partitions]
    consumer.track_lag(assigned)
    identities = await consumer.topic_watch.read()
    names = topics if lifecycle is None else (*topics, lifecycle.topic)
    ids = TopicIds(*(identities[topic].id for topic in names))
    lanes = {id_: owned_lane(await store.claim_lane(id_, ids), *names) for id_ in assigned}
    await halt_changed_topics(lanes.values(), identities, store)
    states = await consumer.partition_states(lanes) if lanes else {}
    await _check_lost_commits(lanes, states, store)
    if lifecycle is not None:
        states |= await lifecycle.assign(lanes)
    await _halt_unreadable(lanes, states, store)
    if number != consumer.assignment_number:
        raise FencedError("the assignment changed during the claim")
    for lane in lanes.values():
        for side, state in _side_states(lane, states):
            side.forget_deleted(state.first)
        if lane.halted_why is None:
            consumer.seek(lane)
        else:
            _log.error("lane halted", lane=lane.lane, reason=lane.halted_why)
            consumer.pause(lane)
    if consumer.is_idle:
        _log.info("no lanes assigned", reason="the group has more projectors than lanes")
    else:
        _log.info("lanes claimed", lanes=list(lanes))
    return lanes


async def halt_changed_topics(
    lanes: Collection[OwnedLane], identities: Mapping[str, TopicIdentity], store: Store
) -> list[OwnedLane]:
    """Halts those of the lanes whose topics have changed, and returns them. Lanes that are halted stay so.

    Raises:
        FencedError: another process owns a lane.
    """
    reasons = {lane.lane: _changed_topic_reason(lane, identities, store.partitions) for lane in lanes}
    return await _halt(lanes, reasons, store)


def _changed_topic_reason(
    lane: OwnedLane, identities: Mapping[str, TopicIdentity], built_from: int
) -> str | None:
    reasons = (changed_topic_reason(side, *identities[side.topic], built_from) for side in lane.sides)
    return next(filter(None, reasons), None)


async def _halt(
    lanes: Collection[OwnedLane], reasons: Mapping[Lane, str | None], store: Store
) -> list[OwnedLane]:
    """Halts the lanes that have a reason and are not halted yet, and returns them."""
    halted = [(lane, reason) for lane in lanes if lane.halted_why is None and (reason := reasons[lane.lane])]
    await store.move_lanes([halt_move(lane, reason) for lane, reason in halted])
    for lane, reason in halted:
        lane.halted_why = reason
    return [lane for lane, _ in halted]


def _side_states(
    lane: OwnedLane, states: Mapping[TopicPartition, PartitionState]
) -> list[tuple[LaneSide, PartitionState]]:
    return [(side, states[TopicPartition(side.topic, lane.lane)]) for side in (lane.transfers, lane.balances)]


async def _check_lost_commits(
    lanes: Mapping[Lane, OwnedLane], states: Mapping[TopicPartition, PartitionState], store: Store
) -> None:
    """Changes the epoch if the group's offsets of this epoch are ahead of Postgres.

    They are committed after Postgres commits. If they are ahead, Postgres has lost commits.
    """
    for lane in lanes.values():
        for side, state in _side_states(lane, states):
            if state.epoch == lane.epoch and state.committed is not None and state.committed > side.next:
                await change_epoch(
                    await store.connection(),
                    lane.epoch,
                    f"{side.topic}/{lane.lane}: the group is ahead of Postgres",
                )
                raise FencedError("the epoch changed")


async def _halt_unreadable(
    lanes: Mapping[Lane, OwnedLane], states: Mapping[TopicPartition, PartitionState], store: Store
) -> None:
    reasons: dict[Lane, str | None] = {}
    for lane in lanes.values():
        of_sides = (
            unreadable_reason(side, state.first, state.end)
            for side in lane.sides
            if (state := states[TopicPartition(side.topic, lane.lane)])
        )
        reasons[lane.lane] = next(filter(None, of_sides), None)
    await _halt(lanes.values(), reasons, store)
