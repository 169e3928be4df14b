"""History: recently sent frames of all accounts, from which a client recovers without a read of Postgres.

After an outage thousands of clients return from the same few positions. Each frame names the positions that
it leads from and to. A chain of frames that ends at the channel's position therefore misses nothing. If a
frame of it was dropped meanwhile, there is no chain, and Postgres is read (decision 13).
"""

from collections import OrderedDict
from math import inf

from livebalance.gateway.live.outbox import Frame, Source
from livebalance.wire.identity import AccountId, Position

MAX_CHAIN_FRAMES = 64
FRAME_OVERHEAD_BYTES = 512  # memory of a frame beside its text
MAX_SNAPSHOT_AGE = 5.0  # seconds; an older snapshot is not sent again

_Key = tuple[Source, Position | None]  # an account, and the position that a frame leads from


class History:
    """Holds frames within a bound of bytes. Beyond it the oldest are dropped."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[_Key, tuple[Frame, float]] = OrderedDict()  # with their times, oldest first
        self._forgotten: dict[AccountId, float] = {}  # when frames of these accounts were found to be wrong
        self._size = 0
        self.now = 0.0  # monotonic seconds, set at each tick of the hub
        self._recoveries = 0

    def store(self, frame: Frame) -> None:
        """Stores a sent frame, unless it is the last of its account or has no content."""
        if frame.is_last or not frame.text:
            return
        key = (frame.account, frame.before)
        if key in self._frames:
            self._size -= FRAME_OVERHEAD_BYTES + len(self._frames.pop(key)[0].text)
        self._frames[key] = frame, self.now
        self._size += FRAME_OVERHEAD_BYTES + len(frame.text)
        while self._size > self._max_bytes:
            _, (oldest, _) = self._frames.popitem(last=False)
            self._size -= FRAME_OVERHEAD_BYTES + len(oldest.text)

    def forget(self, account: AccountId) -> None:
        """Sends no frame of the account again that was stored until now."""
        oldest = next(iter(self._frames.values()))[1] if self._frames else self.now
        self._forgotten = {other: at for other, at in self._forgotten.items() if at >= oldest}
        self._forgotten[account] = self.now

    def count_recovery(self) -> None:
        """Counts a client that recovered without a read."""
        self._recoveries += 1

    def drain_recoveries(self) -> int:
        """Returns how many recoveries were counted since the last call."""
        recoveries, self._recoveries = self._recoveries, 0
        return recoveries

    def chain(self, account: AccountId, start: Position | None, end: Position) -> list[Frame] | None:
        """Returns the frames that lead from `start` to `end` without a gap, or None if some are missing."""
        frames: list[Frame] = []
        position = start
        forgotten_at = self._forgotten.get(account, -inf)
        while position != end:
            entry = self._frames.get((account, position))
            if entry is None or len(frames) == MAX_CHAIN_FRAMES:
                return None
            frame, stored_at = entry
            if stored_at <= forgotten_at:
                return None
            if position is None and stored_at < self.now - MAX_SNAPSHOT_AGE:
                return None
            frames.append(frame)
            position = frame.after
        return frames
