"""What was relayed lately, of all accounts: who missed no more than that is answered without a read.

After a cut thousands come back from the same few positions. Each parcel says from where to where it leads: a
chain of them that ends where the channel is misses nothing; if one was dropped meanwhile, there is none.
"""

from collections import OrderedDict

from livebalance.gateway.live.outbox import Frame
from livebalance.wire.identity import AccountId, Position

LONGEST = 64  # parcels in a chain
STEP_BYTES = 512  # of memory that one takes, beside its frame
FRESH = 5.0  # seconds a snapshot is handed on: it says as of when it is complete

_From = tuple[AccountId, Position | None]


class History:
    """Bounded in bytes of memory; over it the oldest parcels go."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._steps: OrderedDict[_From, tuple[Frame, float]] = OrderedDict()  # as they came
        self._size = 0
        self.now = 0.0  # seconds; set often
        self._spared = 0

    def keep(self, parcel: Frame) -> None:
        if parcel.last or not parcel.text:
            return
        key = (parcel.account, parcel.before)
        if key in self._steps:
            self._size -= STEP_BYTES + len(self._steps.pop(key)[0].text)
        self._steps[key] = parcel, self.now
        self._size += STEP_BYTES + len(parcel.text)
        while self._size > self._limit:
            _, (oldest, _) = self._steps.popitem(last=False)
            self._size -= STEP_BYTES + len(oldest.text)

    def spare(self) -> None:
        self._spared += 1

    def take_spared(self) -> int:
        """How many reads were spared since it was last asked."""
        spared, self._spared = self._spared, 0
        return spared

    def chain(self, account: AccountId, at: Position | None, to: Position) -> list[Frame] | None:
        """What leads from `at` to `to`; None: not known."""
        found: list[Frame] = []
        while at != to:
            step = self._steps.get((account, at))
            if step is None or len(found) == LONGEST or (at is None and step[1] < self.now - FRESH):
                return None
            found.append(step[0])
            at = step[0].after
        return found
