"""The batches of all lanes as they arrive from Redis, which may lose, repeat and reorder them.

A lane's batches are numbered, so that a number that is left out shows a loss. A program other than a
projector may also publish a number before the projector does. Then the true batch arrives as a repetition
with another content, or an audit finds that Postgres has no such batch.
"""

from collections import deque
from collections.abc import Mapping

from msgspec.structs import replace

from livebalance.readmodel.gateway_reads import LaneProgress
from livebalance.wire.identity import Epoch, Lane
from livebalance.wire.sets.batch import LaneBatch
from livebalance.wire.timestamp import Millis

REMEMBERED = 64  # batches of each lane, to recognize a repetition with another content


class BatchStream:
    """The newest batch of each lane. `breaks` counts what sets must be read again for."""

    def __init__(self) -> None:
        self.epoch: Epoch | None = None
        self.numbers: dict[Lane, int] = {}
        self.breaks = 0
        self.as_of: Millis | None = None  # all lanes are complete as of that time
        self._first: dict[Lane, int] = {}  # the number before the first batch of lanes that were unknown
        self._recent: dict[Lane, deque[LaneBatch]] = {}
        self._asked: dict[Lane, int] | None = None  # when the last audit began; None: the stream broke since
        # What an audit found: the number of each lane, when (monotonic seconds), and the time of all lanes.
        self._expected: tuple[dict[Lane, int], float, Millis | None] | None = None

    def on_batch(self, batch: LaneBatch) -> bool:
        """Returns whether the batch is the next of its lane, and its accounts are known."""
        if self.epoch is None:
            self.epoch = batch.epoch
        elif batch.epoch != self.epoch:
            self.restart(batch.epoch, {})
        number = self.numbers.get(batch.lane)
        if number is None:
            number = self._first[batch.lane] = batch.number - 1
        recent = self._recent.setdefault(batch.lane, deque(maxlen=REMEMBERED))
        batch = replace(batch, totals=())  # they would fill the memory, and follow from the accounts
        if batch.number <= number:
            if any(known.number == batch.number and known != batch for known in recent):
                self.break_()
            return False
        self.numbers[batch.lane] = batch.number
        recent.append(batch)
        if batch.number > number + 1 or batch.header_only:
            self.break_()
            return False
        self._confirm()
        return True

    def break_(self) -> None:
        """Notes that batches are missing, or are not those of the projector."""
        self.breaks += 1
        self._asked = self._expected = None
        self.as_of = None

    def restart(self, epoch: Epoch, numbers: Mapping[Lane, int]) -> None:
        """Continues in another epoch, or with other numbers."""
        self.break_()
        self.epoch, self.numbers = epoch, dict(numbers)
        self._first.clear()
        self._recent.clear()

    def is_ahead(self, stored: Mapping[Lane, int], asked: Mapping[Lane, int]) -> bool:
        """Returns whether Postgres had fewer batches than had arrived when a read began, at `asked`.

        A lane that was unknown then must have all batches before the first that arrived.
        """
        return any(stored.get(lane, 0) < number for lane, number in (self._first | dict(asked)).items())

    # --- audits

    def begin_audit(self) -> None:
        """Called when the statement of an audit is about to run."""
        self._asked = dict(self.numbers)

    def on_audit(self, epoch: Epoch, lanes: Mapping[Lane, LaneProgress], partitions: int, now: float) -> None:
        """Compares with the lanes in Postgres."""
        if self.epoch is None or self._asked is None:
            return
        numbers = {lane: progress.batches for lane, progress in lanes.items() if progress.batches is not None}
        if epoch != self.epoch or len(numbers) < partitions:
            self.break_()  # a projector of an older release does not number its batches
        elif behind := {lane for lane, asked in self._asked.items() if numbers.get(lane, 0) < asked}:
            self.restart(epoch, {**self.numbers, **{lane: numbers.get(lane, 0) for lane in behind}})
        else:
            times = [progress.as_of for progress in lanes.values()]
            known = [time for time in times if time is not None]
            as_of = min(known) if len(known) == len(times) else None
            if self._expected is None:  # an older expectation stays, however often audits run
                self._expected = numbers, now, as_of
            self._confirm()

    def _confirm(self) -> None:
        if self._expected is None:
            return
        numbers, _, as_of = self._expected
        if all(self.numbers.get(lane, 0) >= number for lane, number in numbers.items()):
            self._expected = None
            if as_of is not None and (self.as_of is None or as_of > self.as_of):
                self.as_of = as_of

    def check_overdue(self, deadline: float) -> None:
        """Breaks if batches did not arrive that an audit saw before the deadline (monotonic seconds)."""
        if self._expected and self._expected[1] <= deadline:
            for lane, number in self._expected[0].items():
                self.numbers[lane] = max(number, self.numbers.get(lane, 0))
            self.break_()
