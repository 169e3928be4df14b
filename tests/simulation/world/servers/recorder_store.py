"""The recorder's rows in Postgres: its partitions, and the transfers that it has rejected."""

from collections.abc import Callable, Iterable
from typing import Any

from livebalance.readmodel.rows import QuarantineRow, RecorderLane, SourceIdentity
from livebalance.wire.identity import Lane
from tests.simulation.world.servers.kafka import Partition


class RecorderStore:
    """The statements of `livebalance.recorder.store`. `check_up` raises an error if Postgres is down."""

    def __init__(self, check_up: Callable[[], None], identity: SourceIdentity) -> None:
        self._check_up = check_up
        self._lanes = {
            Lane(number): RecorderLane(identity, False, None, False, None)
            for number in range(identity.partitions)
        }
        self._quarantined: list[QuarantineRow] = []

    def begin(self, number: int, identity: SourceIdentity) -> RecorderLane:
        """Returns a partition. A partition that was added begins with the topics of the others."""
        self._check_up()
        began_with = next((lane.identity for lane in self._lanes.values()), identity)
        return self._lanes.setdefault(Lane(number), RecorderLane(began_with, False, None, False, None))

    def lane(self, number: int) -> RecorderLane:
        return self._lanes[Lane(number)]

    def halted_why(self, number: int) -> str | None:
        """Returns why a recorder has halted a partition."""
        lane = self._lanes.get(Lane(number))
        return lane.halted_why if lane is not None else None

    def update(self, number: int, **changes: Any) -> None:
        self._lanes[Lane(number)] = self.lane(number)._replace(**changes)

    def quarantine(self, rows: Iterable[QuarantineRow]) -> None:
        self._check_up()
        self._quarantined += rows

    def rejected_offsets(self, partition: Partition) -> set[int]:
        self._check_up()
        return {
            row.source_offset for row in self._quarantined if Partition(row.topic, row.partition) == partition
        }
