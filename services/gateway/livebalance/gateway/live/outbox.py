"""The outbox of a session: frames that its client has not been sent yet, in order, within a bound of bytes.

While the transport accepts bytes, everything is sent at the end of each batch, at most the bound in a write.
If the client asked for a lower rate, data waits for it, but no more than the bound: a write takes what is
beyond. While the transport accepts none, data beyond the bound is conflated: successive deltas of an account
merge into a single delta. If the data still exceeds the bound, the outbox drops it and returns the positions
that its client is left at. The subscriptions then catch up from there, through a read of Postgres.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from msgspec import Struct

from livebalance.wire.delta import merge
from livebalance.wire.identity import AccountId, Position, SetName
from livebalance.wire.sets.merge import merge_set_deltas

Source = AccountId | SetName  # of a data frame


class SessionEvent(NamedTuple):
    """An event of a client's subscriptions, or an error sent to the client. Counted in the metrics."""

    kind: Literal["error", "snapshot", "unsubscribed"]
    reason: str


class Frame(Struct, frozen=True, gc=False):
    """A data frame of an account or a set, shared by all sessions that are sent it.

    Positions of a set are those of `live.sets.subscription`.
    """

    account: Source
    before: Position | None  # the client's position until then; None: no state, or any state
    after: Position
    text: bytes  # JSON; empty for a delta without content, which is never sent
    is_last: bool = False  # the account was erased: no frame follows
    event: "SessionEvent | None" = None  # counted once for each client that is sent the frame
    mergeable: bool = False  # a delta within its epoch, which can merge with the next


Rewrite = Callable[[list[Frame | bytes]], list[Frame | bytes]]


class Outbox:
    """Holds data frames, which belong to an account, and the texts of control messages, which do not.

    Control messages (`welcome`, `ok`, `error`, `status` and so on) are never dropped or delayed. Times are in
    seconds of a monotonic clock.
    """

    __slots__ = (
        "_frames",
        "_heartbeat",
        "_interval",
        "_max_bytes",
        "_size",
        "conflated_by_rate",
        "conflated_by_size",
        "control_messages",
        "due",
        "events",
        "needs_attention",
        "overflows",
        "popped",
        "rewrite",
        "writable",
    )

    def __init__(self, max_bytes: int) -> None:
        """Creates an empty outbox for at most `max_bytes` of waiting data."""
        self._max_bytes = max_bytes
        self._frames: list[Frame | bytes] = []  # bytes: a control message
        self._size = 0
        self._heartbeat = b""  # b"": none waits
        self._interval = 0.0  # seconds between two writes of data
        self.due = 0.0  # the time of the next write of data
        self.control_messages = 0  # how many wait
        self.writable = True  # the transport accepts bytes
        self.rewrite: Rewrite | None = None  # makes patches of the frames that a client is sent
        # Since the metrics were last collected:
        self.conflated_by_size = 0  # frames merged into another because the outbox was full
        self.conflated_by_rate = 0  # frames merged into another because the client asked for a lower rate
        self.overflows = 0  # times that all data was dropped
        self.popped = 0  # frames
        self.events: tuple[SessionEvent, ...] = ()
        self.needs_attention = False  # one of these changed (`popped` aside), or data was delayed

    @property
    def is_empty(self) -> bool:
        """Whether everything was passed to the transport."""
        return not self._frames

    @property
    def is_delayed(self) -> bool:
        """Whether data waits for `due`, and for nothing else."""
        return self.writable and self._size > 0

    @property
    def size(self) -> int:
        """Bytes of data that wait."""
        return self._size

    def set_interval(self, interval: float) -> None:
        """Sets the least seconds between two writes of data (0: no wait). Waiting data is due now."""
        if self._interval:
            self._conflate()
        self._interval, self.due = interval, 0.0

    def put(self, frame: Frame) -> bool:
        """Adds a data frame. Returns False if the bound is exceeded: the caller must call `overflow` then."""
        if frame.event:
            self.count(frame.event)
        self._frames.append(frame)
        self._size += len(frame.text)
        return self._size <= self._max_bytes or self.fit()

    def fit(self) -> bool:
        """Merges data that waits beyond the bound. Returns False if the rest still exceeds the bound."""
        if self._size > self._max_bytes and not self.writable:
            self._conflate()
        # While the transport accepts bytes, the next write takes what is beyond the bound. If it was dropped,
        # reads would bring it again, for ever if the answers of a session do not fit together.
        return self.writable or self._size <= self._max_bytes

    def has_room(self, size: int) -> bool:
        """Returns whether so many bytes of data may be added by a source that can also wait."""
        if self._interval:  # the next write takes what is beyond the bound: it need not wait for the rate
            return self.writable and self._size <= self._max_bytes
        return self.writable and (not self._size or self._size + size <= self._max_bytes)

    def put_control(self, text: bytes, event: SessionEvent | None = None) -> None:
        """Adds a control message, which keeps its place in the order and is never dropped."""
        if event:
            self.count(event)
        self._frames.append(text)
        self.control_messages += 1

    def count(self, event: SessionEvent) -> None:
        """Adds an event to be counted."""
        self.events += (event,)
        self.needs_attention = True

    def set_heartbeat(self, text: bytes) -> None:
        """Replaces the heartbeat that waits; b"" removes it. A heartbeat is sent after all other frames."""
        self._heartbeat = text

    def overflow(self) -> dict[Source, Position | None]:
        """Drops all data for want of room, and returns the same as `drop_data`."""
        self.overflows += 1
        self.needs_attention = True
        return self.drop_data()

    def drop_data(self) -> dict[Source, Position | None]:
        """Drops all data. Returns the position that the client is left at, for each account that had data."""
        positions: dict[Source, Position | None] = {}
        for frame in self._frames:
            if isinstance(frame, Frame):
                positions.setdefault(frame.account, frame.before)
        self._replace([frame for frame in self._frames if isinstance(frame, bytes)])
        return positions

    def drop_account(self, account: Source) -> Frame | None:
        """Drops the data of an account or a set. Returns its first frame, which has the client's position."""
        dropped = [frame for frame in self._frames if isinstance(frame, Frame) and frame.account == account]
        if not dropped:
            return None
        self._replace(
            [frame for frame in self._frames if isinstance(frame, bytes) or frame.account != account]
        )
        return dropped[0]

    def pop(self, now: float) -> list[Frame | bytes]:
        """Removes and returns the frames to write next at `now`, in order.

        Their data is at most the bound, or a single larger frame. The caller calls again while the transport
        accepts bytes.
        """
        is_limited = self._interval > 0 and self._size > 0
        if is_limited and (now >= self.due or self._size > self._max_bytes):
            self._conflate()
        if self._size > self._max_bytes:
            frames = self._pop_bound()
            if is_limited and not self._size:
                self.due = now + self._interval
            return self.rewrite(frames) if self.rewrite else frames
        if is_limited and now < self.due:
            frames = self._pop_control()
        else:
            frames, self._frames = self._frames, []
            self._size = self.control_messages = 0
            if is_limited:
                self.due = now + self._interval
        if self._heartbeat:
            frames.append(self._heartbeat)
            self._heartbeat = b""
        self.popped += len(frames)
        return self.rewrite(frames) if self.rewrite else frames

    def _pop_bound(self) -> list[Frame | bytes]:
        """Does the same if more data waits than the bound. The heartbeat stays, for after the last frame."""
        count = size = 0
        for frame in self._frames:
            if isinstance(frame, Frame):
                size += len(frame.text)
                if size > self._max_bytes and size > len(frame.text):
                    break
            count += 1
        frames, rest = self._frames[:count], self._frames[count:]
        self._replace(rest)
        self.control_messages = sum(isinstance(frame, bytes) for frame in rest)
        self.popped += count
        return frames

    def _pop_control(self) -> list[Frame | bytes]:
        """Does the same while data waits for the rate: control messages only."""
        frames: list[Frame | bytes] = [frame for frame in self._frames if isinstance(frame, bytes)]
        self._frames = [frame for frame in self._frames if isinstance(frame, Frame)]
        self.needs_attention, self.control_messages = True, 0
        return frames

    def _conflate(self) -> None:
        """Merges successive deltas of each account, in the place of the first of them."""
        runs: list[list[Frame]] = []
        conflated: list[list[Frame] | bytes] = []
        newest: dict[Source, list[Frame]] = {}
        for frame in self._frames:
            if isinstance(frame, bytes):
                conflated.append(frame)
            elif frame.mergeable and (run := newest.get(frame.account)) and run[-1].mergeable:
                run.append(frame)
            else:
                newest[frame.account] = [frame]
                runs.append(newest[frame.account])
                conflated.append(newest[frame.account])
        fewer = sum(len(run) - 1 for run in runs)
        if self._interval:
            self.conflated_by_rate += fewer
        else:
            self.conflated_by_size += fewer
        self.needs_attention |= fewer > 0
        self._replace([run if isinstance(run, bytes) else _merge(run) for run in conflated])

    def _replace(self, frames: list[Frame | bytes]) -> None:
        self._frames = frames
        self._size = sum(len(frame.text) for frame in frames if isinstance(frame, Frame))


def _merge(run: list[Frame]) -> Frame:
    """Returns a frame that says what all frames of the run say."""
    if len(run) == 1:
        return run[0]
    first, last = run[0], run[-1]
    texts = [frame.text for frame in run]
    text = merge_set_deltas(texts) if isinstance(first.account, SetName) else merge(first.account, texts)
    return Frame(first.account, first.before, last.after, text, mergeable=True)
