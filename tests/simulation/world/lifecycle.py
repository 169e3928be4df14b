"""The projector's reader of openings and erasures, outside the consumer group."""

from collections.abc import Collection, Mapping

from livebalance.projector.fold.lane import OwnedLane
from livebalance.wire.identity import Lane, Offset
from tests.simulation.world.servers.kafka import LIFECYCLE, ConnectionLostError, Kafka, Record

BATCH = 4
BEHIND_SECONDS = 3.0  # longest wait for records that a lane needs before it goes on


class LifecycleReader:
    """Stands for `livebalance.projector.kafka.lifecycle`. Times are in seconds."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._positions: dict[Lane, Offset] = {}
        self._progress_at = 0.0
        self.behind: dict[Lane, int] = {}  # the end that a lane must reach before it goes on

    def assign(self, lanes: Mapping[Lane, OwnedLane], now: float) -> None:
        """Reads these lanes from now on. They are behind until they have reached the present end."""
        self._positions = {number: lane.lifecycle.next for number, lane in lanes.items() if lane.lifecycle}
        self._progress_at = now
        ends = {number: self._kafka.log(LIFECYCLE, number).end for number in lanes}
        self.behind = {number: end for number, end in ends.items() if self._positions[number] < end}

    def fetch(self, lanes: Collection[Lane], now: float) -> dict[Lane, list[Record]]:
        """Returns records of these lanes; only of those that are behind, if there are any."""
        behind = self.behind.keys() & set(lanes)
        fetched = dict[Lane, list[Record]]()
        for number in sorted(behind or lanes):
            records, position = self._kafka.log(LIFECYCLE, number).read(self._positions[number], BATCH)
            self._positions[number] = Offset(position)
            if records:
                fetched[number] = records
        if fetched or not behind:
            self._progress_at = now
        elif now - self._progress_at > BEHIND_SECONDS:
            raise ConnectionLostError
        return fetched

    def update_behind(self) -> None:
        """Lets lanes go on that have reached the end. Called after the fetched records are applied."""
        self.behind = {number: end for number, end in self.behind.items() if self._positions[number] < end}
