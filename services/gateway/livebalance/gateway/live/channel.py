"""One account as this gateway follows it: its position, the deltas that make it grow, holes and their repair.

Redis may lose, repeat and reorder. A delta that does not begin where the channel is opens a hole; while there
is one nothing is relayed, and a read of Postgres from the channel's position closes it.

The join law: the channel is subscribed, and keeps every delta that comes while a read is on its way, so what
a read says is completed by what was kept. Hence a read is shared by whoever asks while it is on its way.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.recovery import Recovery, farewell
from livebalance.wire.delta import Delta
from livebalance.wire.identity import AccountId, Lane, Position
from livebalance.wire.timestamp import Millis

After = Position | None  # what a reader has; None: nothing
Answers = Mapping[After, Recovery]  # all of one moment

KEPT_BYTES = (
    256 * 1024
)  # of deltas while a read is on its way; with more they are dropped: a read must follow
READ_AT_ONCE = 64  # positions of one account in one read; the others wait for the next


# Why a hole opened: a delta beyond the next; one that says only that there is more; another epoch; Postgres
# went back; too much came while it was read; a read brought one page of many; an audit found what was lost.
Why = Literal["gap", "header_only", "epoch", "back", "overflow", "pages", "audit"]


class Claim(NamedTuple):
    """At `at` the account is complete as of `as_of`, it was found at `since` (s)."""

    at: Position
    as_of: Millis | None
    since: float


class DeltaOutcome(NamedTuple):
    """Of a read. `relayed` is for those in step; `led` leads on from what was read, for those who asked."""

    relayed: list[Frame]
    led: list[Frame]


def frame_of_delta(account: AccountId, delta: Delta) -> Frame:
    """Built once for all who follow; without a frame when the delta is a header alone."""
    before, after = Position(delta.epoch, delta.from_), Position(delta.epoch, delta.to)
    if delta.gone:
        return farewell(account, before, after)
    if delta.header_only:
        return Frame(account, before, after, b"")
    return Frame(account, before, after, delta.text, merges=True)


def lead(truth: Position, kept: Iterable[Frame]) -> list[Frame]:
    """The parcels that continue `truth` without a hole."""
    led: list[Frame] = []
    for one in kept:
        if one.before == truth and one.text:
            led.append(one)
            truth = one.after
        elif one.after.epoch != truth.epoch or one.after.revision > truth.revision:
            break
    return led


class Channel:
    """`at` is None until the first read; what is there is complete as of `as_of`."""

    def __init__(self, account: AccountId, since: float) -> None:
        self.account = account
        self.since = since  # seconds; when it was first wanted
        self.subscribed = False
        self.at: Position | None = None
        self.lane: Lane | None = None
        self.as_of: Millis | None = None
        self.hole = False
        self.why: Why | None = None  # what opened a hole that nobody has counted yet
        self.claim: Claim | None = None  # the oldest that is not reached yet
        self._wanted: set[After] = set()  # to be read next
        self._reading: frozenset[After] | None = None
        self._start: After = None  # where the channel was when the read began
        self._kept: list[Frame] = []  # since the read began
        self._kept_bytes = 0

    # --- reads

    def want(self, after: After) -> None:
        """A reader at `after` wants an answer. A read on its way will do: deltas are kept since it began."""
        if self._reading is None or after not in self._reading:
            self._wanted.add(after)

    def begin(self) -> frozenset[After] | None:
        """The positions to read from now, if any; `answered` or `failed` is told what came of it.

        The first read waits until Redis has acknowledged the subscription (design: join).
        """
        if self._reading is not None or not self._wanted or not (self.subscribed or self.at):
            return None
        first = {self.at} if self.hole else set()
        rest = list(self._wanted - first)[: READ_AT_ONCE - len(first)]
        self._reading = frozenset(first.union(rest))
        self._wanted -= self._reading
        self._start = self.at
        return self._reading

    def failed(self) -> frozenset[After]:
        """The read brought nothing. Returns who is still unanswered; a hole wants another read."""
        unanswered = self._reading or frozenset()
        self._end()
        if self.hole:
            self._wanted.add(self.at)
        return unanswered

    def answered(self, answers: Answers, now: float) -> DeltaOutcome:
        found = next(iter(answers.values()))
        own = answers.get(self.at) if self.hole else None
        overflowed, kept = self._kept_bytes > KEPT_BYTES, self._kept
        start, led = self._start, lead(found.truth, kept)
        self._end()
        relayed: list[Frame] = []
        if own:
            relayed = self._move(own, overflowed)
        elif self.at is None:
            self._move(found._replace(at=found.truth), overflowed)
        elif start is None or found.truth.epoch != start.epoch or found.truth.revision < start.revision:
            # Another epoch, or Postgres is behind what was relayed before it was asked.
            self._open_hole("back" if start and found.truth.epoch == start.epoch else "epoch")
        self._learn(found, now)
        if not self.hole:
            relayed += [one for one in kept if self._advance(one)]
        return DeltaOutcome(relayed, led)

    def _end(self) -> None:
        self._reading, self._kept, self._kept_bytes = None, [], 0

    def _move(self, answer: Recovery, overflowed: bool) -> list[Frame]:
        if self.at is None or self.at.epoch != answer.at.epoch:
            self.as_of = None
        self.at, self.hole, self.claim = answer.at, False, None
        if overflowed or answer.at != answer.truth:
            self._open_hole("overflow" if overflowed else "pages")
        return [answer.parcel] if answer.parcel else []

    def _learn(self, found: Recovery, now: float) -> None:
        if found.lane is not None:
            self.lane = found.lane
        self.claimed(Claim(found.truth, found.as_of, now))

    # --- deltas

    def delta(self, delta: Delta) -> Frame | None:
        """What to relay to those in step: the delta, if it is the next."""
        self.lane = delta.lane
        one = frame_of_delta(self.account, delta)
        if self._reading is not None:
            self._keep(one)
        if self.at is None or self.hole or not self._advance(one):
            return None
        return one

    def _keep(self, one: Frame) -> None:
        self._kept_bytes += len(one.text)
        if self._kept_bytes > KEPT_BYTES:
            self._kept.clear()
        else:
            self._kept.append(one)

    def _advance(self, one: Frame) -> bool:
        """Whether `one` is the next. One that is neither next nor past opens a hole."""
        if one.before == self.at and one.text:
            self.at = one.after
            if self.claim:
                self._settle()
            return True
        if self.at is None or one.after.epoch != self.at.epoch or one.after.revision > self.at.revision:
            self._open_hole("gap" if one.text else "header_only")
        return False

    def _open_hole(self, why: Why) -> None:
        if not self.hole:
            self.why = why
        self.hole = True
        self._wanted.add(self.at)

    # --- completeness

    def claimed(self, claim: Claim) -> None:
        """An audit or a read found the account at `claim.at`; its `as_of` holds once the channel is there.

        Another epoch is a hole at once; a later revision becomes one only when it is overdue.
        """
        if self.at is None:
            return None
        if claim.at.epoch != self.at.epoch:
            return self._open_hole("epoch")
        if self.claim is None:  # an older one is waited for first, however often audits come
            self.claim = claim
        return self._settle()

    def _settle(self) -> None:
        claim, at = self.claim, self.at
        if claim is None or at is None or claim.at.revision > at.revision:
            return
        if claim.as_of is not None and (self.as_of is None or claim.as_of > self.as_of):
            self.as_of = claim.as_of
        self.claim = None

    def audited(self, asked: Position, claim: Claim) -> None:
        """`asked`: where the channel was when the audit began. Behind that, Postgres went back."""
        if claim.at.epoch == asked.epoch and claim.at.revision < asked.revision:
            self._open_hole("back")
        else:
            self.claimed(claim)

    def overdue(self, before: float) -> bool:
        """Whether what was found before that time (s) has not come by itself: then it is a hole."""
        if self.claim is None or self.claim.since > before or self.hole:
            return False
        self._open_hole("audit")
        return True
