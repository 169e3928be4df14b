"""One account's channel and the sessions that follow it: who is sent what.

Most are in step with the channel: they have no position of their own, and a delta goes to all of them as one
shared parcel. The others are read for, from their own position, until they are in step again.
"""

from enum import Enum, auto

from msgspec.structs import replace

from livebalance.gateway.live.channel import Answers, Channel
from livebalance.gateway.live.collections import OrderedSet
from livebalance.gateway.live.effects import AccountRead, Effects
from livebalance.gateway.live.history import History
from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.recovery import Recovery
from livebalance.gateway.live.session import Session
from livebalance.wire.delta import Delta
from livebalance.wire.frame import Error
from livebalance.wire.identity import AccountId, Position, channel_name
from livebalance.wire.timestamp import Millis


class CatchUp(Enum):
    BEHIND = auto()  # to be read for, once its session has room
    READING = auto()
    APART = auto()  # where its channel is not; it hears what the channel relays next
    IN_STEP = auto()  # where its channel is
    GONE = auto()


class Subscription:
    """`at` says nothing while it is in step: it is where its channel is then."""

    __slots__ = ("as_of", "at", "audience", "fresh", "session", "step")

    def __init__(self, session: Session, audience: "Subscribers", at: Position | None) -> None:
        self.session = session
        self.audience = audience
        self.at = at
        self.step = CatchUp.GONE  # until its audience takes it in
        self.fresh = True  # nothing was answered since it subscribed
        self.as_of: Millis | None = None  # what its client may be told


def fits(at: Position | None, parcel: Frame) -> bool | None:
    """Whether `parcel` is the next after `at` (True), is past (False), or leaves something out (None)."""
    if at == parcel.before:
        return True
    before, after = parcel.before, parcel.after
    went_back = before is not None and before.epoch == after.epoch and after.revision < before.revision
    if at is not None and at.epoch == after.epoch and after.revision <= at.revision and not went_back:
        return False
    return None


class Subscribers:
    def __init__(
        self, account: AccountId, effects: Effects, trail: History, resume_max: int, since: float
    ) -> None:
        self.channel = Channel(account, since)
        self._trail = trail
        self._resume_max = resume_max
        self.size = 0
        self._effects = effects
        self._in_step: OrderedSet[Session] = OrderedSet()
        self._apart: OrderedSet[Subscription] = OrderedSet()
        self._readers: OrderedSet[Subscription] = OrderedSet()
        self._read: AccountRead | None = None

    # --- who follows

    def join(self, session: Session, at: Position | None) -> None:
        follower = Subscription(session, self, at)
        session.followers[self.channel.account] = follower
        self.size += 1
        self._step(follower, CatchUp.BEHIND)

    def leave(self, follower: Subscription) -> None:
        self._step(follower, CatchUp.GONE)
        del follower.session.followers[self.channel.account]
        self.size -= 1

    def fall(self, follower: Subscription, at: Position | None) -> None:
        """What its client had to be sent beyond `at` was forgotten."""
        follower.at = at
        self._step(follower, CatchUp.BEHIND)

    def _step(self, follower: Subscription, step: CatchUp) -> None:
        """The one place where a follower changes its step."""
        session, was = follower.session, follower.step
        if was is CatchUp.IN_STEP:
            self._in_step.discard(session)
        elif was is CatchUp.APART:
            self._apart.discard(follower)
        elif was is CatchUp.READING:
            self._readers.discard(follower)
            session.reading -= 1
            self._effects.hungry.add(session)
        follower.step = step
        if step is CatchUp.IN_STEP:
            self._in_step.add(session)
        elif step is CatchUp.APART:
            self._apart.add(follower)
        elif step is CatchUp.READING:
            self._readers.add(follower)
            session.reading += 1
        elif step is CatchUp.BEHIND and was is not CatchUp.BEHIND:
            session.behind.append(follower)
            self._effects.hungry.add(session)

    # --- reads

    def read_for(self, follower: Subscription) -> None:
        """Unless it has just come, and what it misses was relayed just now."""
        if follower.fresh and (missed := self._missed_by(follower)) is not None:
            self._trail.spare()
            self._hand(follower, missed)
            return
        self._step(follower, CatchUp.READING)
        self.channel.want(follower.at)
        self._effects.unread.add(self)

    def _missed_by(self, follower: Subscription) -> list[Frame] | None:
        """None: only Postgres can tell."""
        channel, at = self.channel, follower.at
        if channel.at is None or channel.hole:
            return None
        if at and at.epoch == channel.at.epoch and channel.at.revision - at.revision > self._resume_max:
            return None
        return self._trail.chain(channel.account, at, channel.at)

    def _hand(self, follower: Subscription, parcels: list[Frame]) -> None:
        assert self.channel.at
        self._place(follower, self.channel.at)
        follower.fresh = False
        for parcel in parcels:
            if not self._give(follower, parcel):
                break

    def begin(self) -> None:
        """Begins the next read, if there is one to begin."""
        if self.channel.why:
            self._effects.repairs.append(self.channel.why)
            self.channel.why = None
        if afters := self.channel.begin():
            self._read = AccountRead(self.channel.account, afters)
            self._effects.reads.append(self._read)

    def is_reading(self, read: AccountRead) -> bool:
        """False: the read belongs to an audience that was here before."""
        return self._read is read

    def failed(self, retry_after_ms: int) -> None:
        unanswered = self.channel.failed()
        self._effects.unread.add(self)
        for follower in [one for one in self._readers if one.at in unanswered]:
            if follower.fresh:
                self.refuse(follower, retry_after_ms)
            else:
                self._step(follower, CatchUp.BEHIND)

    def refuse(self, follower: Subscription, retry_after_ms: int) -> None:
        """Its client is told to ask again: it has had nothing of this account yet."""
        channel = channel_name(self.channel.account)
        text = "the truth cannot be asked now"
        follower.session.say(
            Error("unavailable", text, temporary=True, channel=channel, retry_after_ms=retry_after_ms)
        )
        self._effects.touched.add(follower.session)
        self.leave(follower)

    def refuse_fresh(self, retry_after_ms: int) -> None:
        """Redis did not acknowledge in time."""
        for follower in [one for one in self._readers if one.fresh]:
            self.refuse(follower, retry_after_ms)

    def answered(self, answers: Answers, now: float) -> None:
        outcome = self.channel.answered(answers, now)
        self._effects.unread.add(self)
        for parcel in outcome.relayed:
            self._relay(parcel)
        for answer in answers.values():
            if answer.parcel and answer.at == answer.truth:
                self._trail.keep(answer.parcel)
        for follower in list(self._readers):
            # One that fell behind while others were served asks with another position.
            if follower.step is CatchUp.READING and follower.at in answers:
                self._answer(follower, answers[follower.at], outcome.led)

    def _answer(self, follower: Subscription, answer: Recovery, led: list[Frame]) -> None:
        parcels = [answer.parcel] if answer.parcel else []
        if answer.at == answer.truth:
            parcels += led
        self._place(follower, parcels[-1].after if parcels else answer.at, more=answer.at != answer.truth)
        follower.fresh = False
        for parcel in parcels:
            if not self._give(follower, parcel):
                break

    def _place(self, follower: Subscription, at: Position, more: bool = False) -> None:
        follower.at = at
        mine = self.channel.at
        if at == mine and not more:
            self._step(follower, CatchUp.IN_STEP)
        elif more or (mine is not None and mine.epoch == at.epoch and mine.revision > at.revision):
            self._step(follower, CatchUp.BEHIND)
        else:
            self._step(follower, CatchUp.APART)

    # --- deltas

    def delta(self, delta: Delta) -> None:
        if parcel := self.channel.delta(delta):
            self._relay(parcel)
        elif self.channel.hole:
            self._effects.unread.add(self)

    def _relay(self, parcel: Frame) -> None:
        self._trail.keep(parcel)
        self._to_those_in_step(parcel)
        for follower in list(self._apart) if self._apart else ():
            self._to_one_apart(follower, parcel)

    def _to_those_in_step(self, parcel: Frame) -> None:
        if parcel.last or crosses(parcel):
            for session in list(self._in_step):
                self._give(session.followers[parcel.account], parcel)
            return
        self._effects.touched |= self._in_step
        for session in [one for one in self._in_step if not one.outbox.put(parcel)]:
            session.overflow()

    def _to_one_apart(self, follower: Subscription, parcel: Frame) -> None:
        fit = fits(follower.at, parcel)
        if fit is None:
            self._step(follower, CatchUp.BEHIND)
        elif fit:
            follower.at = parcel.after
            self._give(follower, parcel)
        if follower.step is CatchUp.APART and follower.at == self.channel.at:
            self._step(follower, CatchUp.IN_STEP)

    def _give(self, follower: Subscription, parcel: Frame) -> bool:
        session = follower.session
        self._effects.touched.add(session)
        if crosses(parcel) and (forgotten := session.outbox.forget(parcel.account)):
            if forgotten.before is None:  # a client that has nothing is not told what became of it
                self.fall(follower, None)
                return False
            parcel = replace(parcel, before=forgotten.before)
        if not session.outbox.put(parcel):
            session.overflow()
            return False
        if parcel.last:
            self.leave(follower)
        return True


def crosses(parcel: Frame) -> bool:
    """From one epoch into another: what is queued of the one before is cleared."""
    return parcel.before is not None and parcel.before.epoch != parcel.after.epoch
