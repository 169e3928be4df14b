"""Taking the assigned lanes: each is fenced for us, compared with Kafka, and read on from where it stands."""

from collections.abc import Mapping

from aiokafka import TopicPartition

from livebalance.projector.errors import FencedError
from livebalance.projector.fold.lane import LaneSide, OwnedLane, halting, owned, unreadable
from livebalance.projector.kafka.consumer import LaneConsumer, PartitionState
from livebalance.projector.postgres.epoch import change_epoch
from livebalance.projector.postgres.store import Store
from livebalance.projector.settings import ProjectorSettings
from livebalance.runtime import logs
from livebalance.wire.identity import Lane

_log = logs.get("claim")


async def claim(settings: ProjectorSettings, intake: LaneConsumer, store: Store) -> dict[Lane, OwnedLane]:
    """All lanes assigned now, halted ones too; those that run stand ready to be fetched.

    Raises FencedError when the epoch changed or the assignment moved on meanwhile.
    """
    number = intake.number
    topics = settings.transfers_topic, settings.balances_topic
    assigned = intake.assigned()
    intake.follow(assigned)
    lanes = {id_: owned(await store.claim(id_), *topics) for id_ in assigned}
    known = await intake.logs(lanes) if lanes else {}
    await _check_witness(lanes, known, store)
    await _halt_unreadable(lanes, known, store)
    if number != intake.number:
        raise FencedError("the assignment changed during the claim")
    for lane in lanes.values():
        if lane.halted_why is None:
            intake.seek(lane)
        else:
            _log.error("the lane is halted", lane=lane.lane, why=lane.halted_why)
            intake.leave_out(lane)
    _log.info("claimed", lanes=list(lanes))
    return lanes


def _sides(
    lane: OwnedLane, known: Mapping[TopicPartition, PartitionState]
) -> list[tuple[LaneSide, PartitionState]]:
    return [(side, known[TopicPartition(side.topic, lane.lane)]) for side in (lane.transfers, lane.balances)]


async def _check_witness(
    lanes: Mapping[Lane, OwnedLane], known: Mapping[TopicPartition, PartitionState], store: Store
) -> None:
    """The group's mark is made after Postgres has committed. Is it ahead, Postgres has lost commits."""
    for lane in lanes.values():
        for side, log in _sides(lane, known):
            if log.epoch == lane.epoch and log.committed is not None and log.committed > side.next:
                await change_epoch(
                    await store.connection(),
                    lane.epoch,
                    f"{side.topic}/{lane.lane}: the group is ahead of Postgres",
                )
                raise FencedError("the epoch changed")


async def _halt_unreadable(
    lanes: Mapping[Lane, OwnedLane], known: Mapping[TopicPartition, PartitionState], store: Store
) -> None:
    for lane in lanes.values():
        reasons = [unreadable(side, log.first, log.end) for side, log in _sides(lane, known)]
        why = next((reason for reason in reasons if reason is not None), None)
        if lane.halted_why is None and why is not None:
            await store.move([halting(lane, why)])
            lane.halted_why = why
