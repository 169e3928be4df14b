"""The channel of an account: its position, the deltas that advance it, its gaps and their repair.

Redis may lose, repeat and reorder messages. A delta that does not begin at the channel's position opens a
gap (docs/guarantees.md#gap). During a gap nothing is relayed, and a read of Postgres closes it.

While a read runs, the channel stays subscribed and buffers all deltas. The deltas that continue what was
read complete the answer (docs/guarantees.md#join). So all clients that ask during a read share its answer.
"""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Literal, NamedTuple

from livebalance.gateway.live.content import RelayedContent
from livebalance.gateway.live.outbox import Frame, SessionEvent
from livebalance.gateway.live.recovery import DISOWNED, Recovery
from livebalance.readmodel.gateway_reads import ContentDigest, SkippedRange
from livebalance.wire.delta import Delta
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision
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
    "content",  # an audit found other content than was relayed
]


class StoredPosition(NamedTuple):
    """The position of an account that an audit or a read found in Postgres at `seen_at` (monotonic s)."""

    position: Position
    as_of: Millis | None  # the account is complete as of that time once `position` was relayed
    seen_at: float


class DisownedRange(NamedTuple):
    """Positions whose content Postgres does not have: above `after`, up to `upto`."""

    epoch: Epoch
    after: Revision
    upto: Revision

    def covers(self, position: Position | None) -> bool:
        """Returns whether a client at the position may have such content."""
        return (
            position is not None
            and position.epoch == self.epoch
            and self.after < position.revision <= self.upto
        )


class ReadOutcome(NamedTuple):
    """The frames that follow from a finished read."""

    to_relay: list[Frame]  # for subscriptions that are in step
    continuation: list[Frame]  # from the position that was read, for subscriptions that waited for the read


def delta_frame(account: AccountId, delta: Delta) -> Frame:
    """Returns the frame that all subscribers share. Its text is empty if the delta has no content.

    A delta that ends the account counts as one without content: only Postgres can end a subscription.
    """
    if delta.gone or delta.header_only:
        return Frame(account, delta.before, delta.after, b"")
    return Frame(account, delta.before, delta.after, delta.text, mergeable=True)


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

    __slots__ = (
        "_buffered",
        "_buffered_bytes",
        "_furthest",
        "_position_at_start",
        "_reading",
        "_requested",
        "_was_needless",
        "account",
        "as_of",
        "content",
        "created_at",
        "disowned",
        "expected",
        "has_gap",
        "lane",
        "position",
        "subscribed",
        "uncounted_gap",
    )

    def __init__(self, account: AccountId, created_at: float) -> None:
        """Creates a channel that is neither subscribed nor read; `created_at` is in monotonic seconds."""
        self.account = account
        self.created_at = created_at
        self.subscribed = False  # Redis has acknowledged the subscription
        self.position: Position | None = None  # None until the first read
        self.lane: Lane | None = None
        self.as_of: Millis | None = None  # complete as of that time at `position`
        self.content: RelayedContent | None = None  # None: Postgres has all that was relayed
        self.disowned: DisownedRange | None = None
        self._furthest: Position | None = None  # that a read has brought to clients
        self.has_gap = False
        self.uncounted_gap: GapReason | None = None  # for the metrics
        self._was_needless = False  # the last gap was none: Postgres had nothing new
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
        furthest, current = self._furthest, recovery.current
        if not furthest or furthest.epoch != current.epoch or furthest.revision < current.revision:
            self._furthest = current
        own = recoveries.get(self.position) if self.has_gap else None
        overflowed, buffered = self._buffered_bytes > MAX_BUFFERED_BYTES, self._buffered
        start = self._position_at_start
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
        if self.has_gap:
            return ReadOutcome(to_relay, [])  # an audit sees only content that the channel relays as well
        following = continuation(recovery.current, buffered)
        to_relay += [frame for frame in buffered if self._advance(frame)]
        return ReadOutcome(to_relay, following)

    def _end_read(self) -> None:
        self._reading, self._buffered, self._buffered_bytes = None, [], 0

    def _move_to(self, recovery: Recovery, overflowed: bool) -> list[Frame]:
        """Closes the gap, and opens another if deltas were dropped or more pages follow."""
        if self.position is None or self.position.epoch != recovery.reached.epoch:
            self.as_of = None
        self._was_needless = self.has_gap and recovery.frame is None
        if recovery.frame and recovery.frame.event:
            self._replace_content(recovery.frame.event, recovery.reached)
        elif recovery.frame and self.content:
            self.content.add(recovery.frame)
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
        if self.position and frame.before == self.position and frame.text:
            if self.content is None:
                self.content = RelayedContent(self.account, self.position.revision)
            self.content.add(frame)
            self.position, self._was_needless = frame.after, False
            if self.expected:
                self._check_expected()
            return True
        if (
            self.position is None
            or frame.after.epoch != self.position.epoch
            or frame.after.revision > self.position.revision
        ):
            if self._was_needless:  # perhaps a foreign program publishes: the next tick reads
                self.expected = self.expected or StoredPosition(frame.after, None, -inf)
            else:
                self._open_gap("gap" if frame.text else "header_only")
        return False

    def _open_gap(self, reason: GapReason) -> None:
        if not self.has_gap:
            self.uncounted_gap = reason
        self.has_gap = True
        self._requested.add(self.position)

    # --- content

    def begin_audit(self) -> ContentDigest | None:
        """Returns the digest of what was relayed and not confirmed yet; None: there is nothing."""
        if self.content is None or self.position is None:
            return None
        return self.content.begin_audit(self.position.revision)

    def confirm_content(self) -> None:
        """Called when an audit has found the content that it began with."""
        if self.content:
            self.content = self.content.unconfirmed()

    def _replace_content(self, event: SessionEvent, reached: Position) -> None:
        """Takes over a snapshot. Slow clients may still be at a position that the channel has left.

        After `too_far` clients keep what they show, so an audit compares it nevertheless. If Postgres has
        not reached the channel's position, it does not have what was relayed.
        """
        position, content = self.position, self.content
        if content and position and event.reason == "too_far":
            content.skip(SkippedRange(Revision(position.revision + 1), reached.revision))
            return
        if position and position.epoch == reached.epoch and position.revision > reached.revision:
            after = min(content.since, reached.revision) if content else reached.revision
            self._disown(position.epoch, after, position.revision)
        self.content = None

    def disown_content(self) -> None:
        """Opens a gap that a snapshot closes. Called when an audit has found other content."""
        assert self.content
        assert self.position
        self._disown(self.position.epoch, self.content.since, self.position.revision)
        self.position, self.content, self.as_of, self.expected = DISOWNED, None, None, None
        self._buffered, self._buffered_bytes = [], 0
        self._open_gap("content")

    def _disown(self, epoch: Epoch, after: Revision, upto: Revision) -> None:
        if self._furthest and self._furthest.epoch == epoch:  # a read leads on from what was relayed
            upto = max(upto, self._furthest.revision)
        if self.disowned and self.disowned.epoch == epoch:
            after, upto = min(after, self.disowned.after), max(upto, self.disowned.upto)
        self.disowned = DisownedRange(epoch, after, upto)

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
