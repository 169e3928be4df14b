"""The channel of an account: its position, the deltas that advance it, its gaps and their repair.

Redis may lose, repeat and reorder messages. A delta that does not begin at the channel's position opens a
gap (docs/guarantees.md#gap). During a gap nothing is relayed, and a read of Postgres closes it.

While a read runs, the channel stays subscribed and buffers all deltas. The deltas that continue what was
read complete the answer (docs/guarantees.md#join). So all clients that ask during a read share its answer.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.recovery import Recovery, erased_frame
from livebalance.wire.delta import Delta
from livebalance.wire.identity import AccountId, Lane, Position
from livebalance.wire.timestamp import Millis

# Recoveries by the position of the clients that asked, of the same moment. None: clients without state.
Recoveries = Mapping[Position | None, Recovery]

MAX_BUFFERED_BYTES = 256 * 1024  # of deltas during a read; beyond it, another read follows
MAX_POSITIONS_PER_READ = 64  # clients at further positions wait for the next read


# Why a gap opened.
GapReason = Literal[
    "gap",  # a delta was not the next
    "header_only",  # a delta had no content
    "epoch",  # the epoch changed
    "back",  # Postgres lost commits
    "overflow",  # too many deltas arrived during a read
    "pages",  # a read returned a page, and more pages follow
    "audit",  # an audit found a revision that did not arrive
]


class StoredPosition(NamedTuple):
    """The position of an account that an audit or a read found in Postgres at `seen_at` (monotonic s)."""

    position: Position
    as_of: Millis | None  # the account is complete as of that time once `position` was relayed
    seen_at: float


class ReadOutcome(NamedTuple):
    """The frames that follow from a finished read."""

    to_relay: list[Frame]  # for subscriptions that are in step
    continuation: list[Frame]  # from the position that was read, for subscriptions that waited for the read


def delta_frame(account: AccountId, delta: Delta) -> Frame:
    """Returns the frame that all subscribers share. Its text is empty if the delta has no content."""
    before, after = Position(delta.epoch, delta.from_), Position(delta.epoch, delta.to)
    if delta.gone:
        return erased_frame(account, before, after)
    if delta.header_only:
        return Frame(account, before, after, b"")
    return Frame(account, before, after, delta.text, mergeable=True)


def continuation(position: Position, frames: Iterable[Frame]) -> list[Frame]:
    """Returns the frames that continue from the position without a gap."""
    following: list[Frame] = []
    for frame in frames:
        if frame.before == position and frame.text:
            following.append(frame)
            position = frame.after
        elif frame.after.epoch != position.epoch or frame.after.revision > position.revision:
            break
    return following


class Channel:
    """State of a channel. Inputs are deltas, reads and audits."""

    def __init__(self, account: AccountId, created_at: float) -> None:
        """Creates a channel that is neither subscribed nor read; `created_at` is in monotonic seconds."""
        self.account = account
        self.created_at = created_at
        self.subscribed = False  # Redis has acknowledged the subscription
        self.position: Position | None = None  # None until the first read
        self.lane: Lane | None = None
        self.as_of: Millis | None = None  # complete as of that time at `position`
        self.has_gap = False
        self.uncounted_gap: GapReason | None = None  # for the metrics
        self.expected: StoredPosition | None = None  # the oldest that `position` has not reached
        self._requested: set[Position | None] = set()  # to be read next
        self._reading: frozenset[Position | None] | None = None  # None: no read is running
        self._position_at_start: Position | None = None  # of the running read
        self._buffered: list[Frame] = []  # since the running read began
        self._buffered_bytes = 0

    # --- reads

    def request_read(self, position: Position | None) -> None:
        """Requests a read for a client at `position`, unless the running read covers it."""
        if self._reading is None or position not in self._reading:
            self._requested.add(position)

    def begin_read(self) -> frozenset[Position | None] | None:
        """Begins the next read and returns its positions, or None if no read can begin.

        The first read waits until Redis has acknowledged the subscription (docs/guarantees.md#join).
        """
        if self._reading is not None or not self._requested or not (self.subscribed or self.position):
            return None
        first = {self.position} if self.has_gap else set()
        rest = list(self._requested - first)[: MAX_POSITIONS_PER_READ - len(first)]
        self._reading = frozenset(first.union(rest))
        self._requested -= self._reading
        self._position_at_start = self.position
        return self._reading

    def on_read_failed(self) -> frozenset[Position | None]:
        """Ends the read and returns the positions that it leaves without an answer."""
        unanswered = self._reading or frozenset()
        self._end_read()
        if self.has_gap:
            self._requested.add(self.position)
        return unanswered

    def on_read(self, recoveries: Recoveries, now: float) -> ReadOutcome:
        """Ends the read, and moves the channel to what was read and buffered."""
        recovery = next(iter(recoveries.values()))
        own = recoveries.get(self.position) if self.has_gap else None
        overflowed, buffered = self._buffered_bytes > MAX_BUFFERED_BYTES, self._buffered
        start, following = self._position_at_start, continuation(recovery.current, buffered)
        self._end_read()
        to_relay: list[Frame] = []
        if own:
            to_relay = self._move_to(own, overflowed)
        elif self.position is None:
            self._move_to(recovery._replace(reached=recovery.current), overflowed)
        elif (
            start is None
            or recovery.current.epoch != start.epoch
            or recovery.current.revision < start.revision
        ):
            # Another epoch, or Postgres has less than was relayed before the read.
            self._open_gap("back" if start and recovery.current.epoch == start.epoch else "epoch")
        if recovery.lane is not None:
            self.lane = recovery.lane
        self.expect(StoredPosition(recovery.current, recovery.as_of, now))
        if not self.has_gap:
            to_relay += [frame for frame in buffered if self._advance(frame)]
        return ReadOutcome(to_relay, following)

    def _end_read(self) -> None:
        self._reading, self._buffered, self._buffered_bytes = None, [], 0

    def _move_to(self, recovery: Recovery, overflowed: bool) -> list[Frame]:
        """Closes the gap, and opens another if deltas were dropped or more pages follow."""
        if self.position is None or self.position.epoch != recovery.reached.epoch:
            self.as_of = None
        self.position, self.has_gap, self.expected = recovery.reached, False, None
        if overflowed or recovery.reached != recovery.current:
            self._open_gap("overflow" if overflowed else "pages")
        return [recovery.frame] if recovery.frame else []

    # --- deltas

    def on_delta(self, delta: Delta) -> Frame | None:
        """Returns the frame to relay to subscriptions in step, if the delta is the next."""
        self.lane = delta.lane
        frame = delta_frame(self.account, delta)
        if self._reading is not None:
            self._buffer(frame)
        if self.position is None or self.has_gap or not self._advance(frame):
            return None
        return frame

    def _buffer(self, frame: Frame) -> None:
        self._buffered_bytes += len(frame.text)
        if self._buffered_bytes > MAX_BUFFERED_BYTES:
            self._buffered.clear()
        else:
            self._buffered.append(frame)

    def _advance(self, frame: Frame) -> bool:
        """Moves past the frame if it is the next, and returns whether it is. Opens a gap if it is beyond."""
        if frame.before == self.position and frame.text:
            self.position = frame.after
            if self.expected:
                self._check_expected()
            return True
        if (
            self.position is None
            or frame.after.epoch != self.position.epoch
            or frame.after.revision > self.position.revision
        ):
            self._open_gap("gap" if frame.text else "header_only")
        return False

    def _open_gap(self, reason: GapReason) -> None:
        if not self.has_gap:
            self.uncounted_gap = reason
        self.has_gap = True
        self._requested.add(self.position)

    # --- completeness

    def expect(self, stored: StoredPosition) -> None:
        """Takes over `stored.as_of` once the channel has reached `stored.position`.

        Another epoch is a gap at once. A later revision becomes a gap when it is overdue.
        """
        if self.position is None:
            return None
        if stored.position.epoch != self.position.epoch:
            return self._open_gap("epoch")
        if self.expected is None:  # an older expectation stays, however often audits run
            self.expected = stored
        return self._check_expected()

    def _check_expected(self) -> None:
        expected, position = self.expected, self.position
        if expected is None or position is None or expected.position.revision > position.revision:
            return
        if expected.as_of is not None and (self.as_of is None or expected.as_of > self.as_of):
            self.as_of = expected.as_of
        self.expected = None

    def on_audit(self, asked: Position, stored: StoredPosition) -> None:
        """Compares with an audit that began at `asked`. If Postgres is behind that, it lost commits."""
        if stored.position.epoch == asked.epoch and stored.position.revision < asked.revision:
            self._open_gap("back")
        else:
            self.expect(stored)

    def check_overdue(self, deadline: float) -> bool:
        """Opens a gap if the expected position was seen before the deadline (s). Returns whether it did."""
        if self.expected is None or self.expected.seen_at > deadline or self.has_gap:
            return False
        self._open_gap("audit")
        return True
