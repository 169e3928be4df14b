"""What a client still has to be sent: ready frames in order, bounded in bytes.

While the client's transport takes bytes, all that waits goes out at the end of each batch, unless the client
wants less often. Data over the bound are conflated: of one account, its deltas become one. What is still over
the bound then is forgotten and remembered as positions: Postgres has the rest.
"""

from typing import Literal, NamedTuple

from msgspec import Struct

from livebalance.wire.delta import merge
from livebalance.wire.identity import AccountId, Position


class SessionEvent(NamedTuple):
    """Something that happened to a client's subscriptions, or an error it was told: to be counted."""

    kind: Literal["error", "snapshot", "unsubscribed"]
    reason: str


class Frame(Struct, frozen=True, gc=False):
    """A ready frame of one account, shared by all who are sent it."""

    account: AccountId
    before: Position | None  # what its client has until it gets this; None: nothing yet, or no matter what
    after: Position
    text: bytes  # JSON
    last: bool = False  # nothing of this account follows: it was erased
    note: "SessionEvent | None" = None  # what it is counted as, for each client that is sent it
    merges: bool = False  # a delta within one epoch: it can become one with the next that does


class Outbox:
    """Times in seconds. Data are what belongs to an account; all else are words."""

    __slots__ = (
        "_beat",
        "_frames",
        "_limit",
        "_period",
        "_size",
        "conflated",
        "due",
        "forgotten",
        "gathered",
        "notes",
        "remarkable",
        "taken",
        "words",
        "writable",
    )

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of data that may wait."""
        self._limit = limit
        self._frames: list[Frame | bytes] = []  # bytes: a frame that belongs to no account
        self._size = 0
        self._beat = b""
        self._period = 0.0  # between two writes of data
        self.due = 0.0  # when data may be written next
        self.words = 0  # how many frames wait that are not data
        self.writable = True
        self.conflated = 0  # frames that became part of another for want of room, since somebody looked
        self.gathered = 0  # and because data are wanted less often
        self.forgotten = 0  # times that all data were, since then
        self.taken = 0  # frames, since somebody counted
        self.notes: tuple[SessionEvent, ...] = ()  # of what was put or said, since then
        self.remarkable = False  # any of these, or data were held back

    @property
    def empty(self) -> bool:
        """Everything the client was to be sent is with its transport."""
        return not self._frames

    @property
    def held(self) -> bool:
        """Data wait for `due`, and for nothing else."""
        return self.writable and self._size > 0

    @property
    def size(self) -> int:
        """Bytes of data that wait."""
        return self._size

    def pace(self, period: float) -> None:
        """Data are to be written at most once in `period`; 0: as they come. What waits now is due now."""
        if self._period:
            self._conflate()
        self._period, self.due = period, 0.0

    def put(self, parcel: Frame) -> bool:
        """False: there is no room, and `forget_all` must follow."""
        if parcel.note:
            self.count(parcel.note)
        self._frames.append(parcel)
        self._size += len(parcel.text)
        if self._size <= self._limit or (self.writable and not self._period):
            return True
        self._conflate()
        return self._size <= self._limit

    def say(self, frame: bytes, note: SessionEvent | None = None) -> None:
        """Words; kept in order, and never forgotten."""
        if note:
            self.count(note)
        self._frames.append(frame)
        self.words += 1

    def count(self, note: SessionEvent) -> None:
        self.notes += (note,)
        self.remarkable = True

    def beat(self, frame: bytes) -> None:
        """A heartbeat; only the newest is kept."""
        self._beat = frame

    def overflow(self) -> dict[AccountId, Position | None]:
        """There was no room: forgets all data, as `forget_all` does."""
        self.forgotten += 1
        self.remarkable = True
        return self.forget_all()

    def forget_all(self) -> dict[AccountId, Position | None]:
        """Forgets all data. For each account that had any: the position its client was left at."""
        left: dict[AccountId, Position | None] = {}
        for one in self._frames:
            if isinstance(one, Frame):
                left.setdefault(one.account, one.before)
        self._keep([one for one in self._frames if isinstance(one, bytes)])
        return left

    def forget(self, account: AccountId) -> Frame | None:
        """Forgets the data of one account; the first parcel of it says where its client was left."""
        found = [one for one in self._frames if isinstance(one, Frame) and one.account == account]
        if not found:
            return None
        self._keep([one for one in self._frames if isinstance(one, bytes) or one.account != account])
        return found[0]

    def pop(self, now: float) -> list[Frame | bytes]:
        """Removes and returns all frames that may be written at `now`, in order."""
        if self._period and self._size:
            frames = self._paced(now)
        else:
            frames, self._frames = self._frames, []
            self._size = self.words = 0
        if self._beat:
            frames.append(self._beat)
            self._beat = b""
        self.taken += len(frames)
        return frames

    def _paced(self, now: float) -> list[Frame | bytes]:
        """The same for a client that wants its data less often."""
        if now >= self.due:
            self.due = now + self._period
            self._conflate()
            frames, self._frames, self._size = self._frames, [], 0
        else:
            frames = [one for one in self._frames if isinstance(one, bytes)]
            self._frames = [one for one in self._frames if isinstance(one, Frame)]
            self.remarkable = True
        self.words = 0
        return frames

    def _conflate(self) -> None:
        """All deltas of an account that follow each other become one, in the place of the first."""
        runs: list[list[Frame]] = []
        kept: list[list[Frame] | bytes] = []
        newest: dict[AccountId, list[Frame]] = {}
        for one in self._frames:
            if isinstance(one, bytes):
                kept.append(one)
            elif one.merges and (run := newest.get(one.account)) and run[-1].merges:
                run.append(one)
            else:
                newest[one.account] = [one]
                runs.append(newest[one.account])
                kept.append(newest[one.account])
        fewer = sum(len(run) - 1 for run in runs)
        if self._period:
            self.gathered += fewer
        else:
            self.conflated += fewer
        self.remarkable |= fewer > 0
        self._keep([one if isinstance(one, bytes) else _joined(one) for one in kept])

    def _keep(self, frames: list[Frame | bytes]) -> None:
        self._frames = frames
        self._size = sum(len(one.text) for one in frames if isinstance(one, Frame))


def _joined(run: list[Frame]) -> Frame:
    if len(run) == 1:
        return run[0]
    first, last = run[0], run[-1]
    text = merge(first.account, [frame.text for frame in run])
    return Frame(first.account, first.before, last.after, text, merges=True)
