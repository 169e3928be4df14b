"""How far a replay is, and how long it will take. Pure."""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from livebalance.readmodel.rebuild.rows import LaneEnd
from livebalance.wire.identity import Lane

_SAMPLES = 30  # the rate is that of the last 30 samples


class ReplayedLane(NamedTuple):
    """Offsets of both topics together: the next to apply, and the end."""

    applied: int
    end: int


class ReplayProgress(NamedTuple):
    """A sample of a replay. `rate` is in records per second, None if there was no earlier sample."""

    lanes: dict[Lane, ReplayedLane]
    rate: float | None

    @property
    def applied(self) -> int:
        """Offsets of all lanes together."""
        return sum(lane.applied for lane in self.lanes.values())

    @property
    def end(self) -> int:
        """Ends of all lanes together."""
        return sum(lane.end for lane in self.lanes.values())

    @property
    def seconds_left(self) -> float | None:
        """Estimated time until the end; None if nothing was applied lately."""
        return (self.end - self.applied) / self.rate if self.rate else None

    def __str__(self) -> str:
        share = 100 if self.end == 0 else 100 * self.applied // self.end
        left = "unknown time" if self.seconds_left is None else f"{self.seconds_left:,.0f} s"
        behind = [
            f"{lane}: {at.applied:,}/{at.end:,}" for lane, at in self.lanes.items() if at.applied < at.end
        ]
        lanes = f"; lanes {', '.join(behind)}" if behind else ""
        rate = f"{self.rate or 0:,.0f}/s, {left} left"
        return f"{self.applied:,} of {self.end:,} records ({share} %), {rate}{lanes}"

    def as_object(self) -> dict[str, object]:
        """Returns the sample as a JSON object."""
        return {
            "applied": self.applied,
            "end": self.end,
            "records_per_second": self.rate,
            "seconds_left": self.seconds_left,
            "lanes": {str(lane): at._asdict() for lane, at in self.lanes.items()},
        }


class ReplayRate:
    """Turns offsets of the shadow's lanes into samples."""

    def __init__(self, ends: Mapping[Lane, LaneEnd]) -> None:
        self._ends = ends
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def sample(self, lanes: Mapping[Lane, LaneEnd], now: float) -> ReplayProgress:
        """Returns the progress at the monotonic time `now`, in seconds."""
        progress = {
            lane: ReplayedLane(_offsets(lanes[lane]) if lane in lanes else 0, _offsets(end))
            for lane, end in self._ends.items()
        }
        applied = sum(lane.applied for lane in progress.values())
        rate = None
        if self._samples:
            time, before = self._samples[0]
            rate = (applied - before) / (now - time) if now > time else None
        self._samples.append((now, applied))
        return ReplayProgress(progress, rate)


def _offsets(lane: LaneEnd) -> int:
    return lane.transfers + lane.balances
