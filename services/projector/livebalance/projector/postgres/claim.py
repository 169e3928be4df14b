"""Claims the assigned lanes: fences each, compares it with Kafka, and seeks to its stored offsets."""

from collections.abc import Mapping

from aiokafka import TopicPartition

from livebalance.projector.errors import FencedError
from livebalance.projector.fold.lane import LaneSide, OwnedLane, halt_move, owned_lane, unreadable_reason
from livebalance.projector.kafka.consumer import LaneConsumer, PartitionState
from livebalance.projector.postgres.epoch import change_epoch
from livebalance.projector.postgres.store import Store
from livebalance.projector.settings import ProjectorSettings
from livebalance.runtime import logs
from livebalance.wire.identity import Lane

_log = logs.get("claim")


async def claim_lanes(
    settings: ProjectorSettings, consumer: LaneConsumer, store: Store
) -> dict[Lane, OwnedLane]:
    """Claims every lane that is assigned now (decision 8). Halted lanes are claimed too, and paused.

    Raises:
        FencedError: the epoch changed, or the assignment changed during the claim.
    """
    number = consumer.assignment_number
    topics = settings.transfers_topic, settings.balances_topic
    assigned = consumer.assigned()
    consumer.track_lag(assigned)
    lanes = {id_: owned_lane(await store.claim_lane(id_), *topics) for id_ in assigned}
    states = await consumer.partition_states(lanes) if lanes else {}
    await _check_lost_commits(lanes, states, store)
    await _halt_unreadable(lanes, states, store)
    if number != consumer.assignment_number:
        raise FencedError("the assignment changed during the claim")
    for lane in lanes.values():
        if lane.halted_why is None:
            consumer.seek(lane)
        else:
            _log.error("lane halted", lane=lane.lane, reason=lane.halted_why)
            consumer.pause(lane)
    _log.info("lanes claimed", lanes=list(lanes))
    return lanes


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
    for lane in lanes.values():
        reasons = [
            unreadable_reason(side, state.first, state.end) for side, state in _side_states(lane, states)
        ]
        halt = next((reason for reason in reasons if reason is not None), None)
        if lane.halted_why is None and halt is not None:
            await store.move_lanes([halt_move(lane, halt)])
            lane.halted_why = halt
