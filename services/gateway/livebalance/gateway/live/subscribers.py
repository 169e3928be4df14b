"""The subscribers of an account: its channel, its subscriptions, and which of them is sent which frame.

Most subscriptions are in step with the channel: they have no position of their own, and share the frame of a
delta. The others have a position, and Postgres is read from there until they are in step again (decision 4).
"""

from enum import Enum, auto
from typing import Literal

from msgspec.structs import replace

from livebalance.gateway.live.channel import Channel, Recoveries
from livebalance.gateway.live.collections import OrderedSet
from livebalance.gateway.live.effects import AccountRead, Effects
from livebalance.gateway.live.history import History
from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.recovery import DISOWNED, Recovery
from livebalance.gateway.live.session import Session
from livebalance.wire.delta import Delta
from livebalance.wire.frame import Error
from livebalance.wire.identity import AccountId, Position, channel_name
from livebalance.wire.timestamp import Millis


class CatchUp(Enum):
    """How a subscription stands to its channel."""

    BEHIND = auto()  # a read is needed, once its session has room for what the read brings
    READING = auto()  # a read is requested or running
    AHEAD = auto()  # at a position that the channel has not reached, or of another epoch
    IN_STEP = auto()  # at the channel's position
    INACTIVE = auto()  # not subscribed


class Subscription:
    """The subscription of a session to an account. While it is in step, `position` is out of date."""

    __slots__ = (
        "as_of",
        "position",
        "sent",
        "session",
        "state",
        "subscribers",
        "unanswered",
        "wants_patches",
    )

    def __init__(
        self,
        session: Session,
        subscribers: "Subscribers",
        position: Position | None,
        *,
        wants_patches: bool,
    ) -> None:
        self.session = session
        self.subscribers = subscribers
        self.position = position
        self.state = CatchUp.INACTIVE
        self.unanswered = True  # no frame was sent since the client subscribed
        self.as_of: Millis | None = None  # what was sent is complete as of that time
        self.wants_patches = wants_patches
        self.sent: Frame | None = None  # the last delta, to which the next patch can refer


def fit(position: Position | None, frame: Frame) -> Literal["next", "past", "gap"]:
    """Returns whether the frame continues from the position, brings nothing new, or leaves something out."""
    if position == frame.before:
        return "next"
    before, after = frame.before, frame.after
    went_back = before is not None and before.epoch == after.epoch and after.revision < before.revision
    if (
        position is not None
        and position.epoch == after.epoch
        and after.revision <= position.revision
        and not went_back
    ):
        return "past"
    return "gap"


class Subscribers:
    """Relays the deltas of an account to its subscriptions, and lets those that are behind catch up."""

    __slots__ = (
        "_ahead",
        "_current_read",
        "_effects",
        "_history",
        "_in_step",
        "_reading",
        "_recovery_max_revisions",
        "channel",
        "size",
    )

    def __init__(
        self,
        account: AccountId,
        effects: Effects,
        history: History,
        recovery_max_revisions: int,
        created_at: float,
    ) -> None:
        self.channel = Channel(account, created_at)
        self.size = 0  # subscriptions
        self._effects = effects
        self._history = history
        self._recovery_max_revisions = recovery_max_revisions
        self._in_step: OrderedSet[Session] = OrderedSet()
        self._ahead: OrderedSet[Subscription] = OrderedSet()
        self._reading: OrderedSet[Subscription] = OrderedSet()
        self._current_read: AccountRead | None = None

    # --- subscriptions

    def subscribe(self, session: Session, position: Position | None, *, wants_patches: bool = False) -> None:
        """Adds a subscription of a client that has the account at `position` (None: not at all)."""
        subscription = Subscription(session, self, position, wants_patches=wants_patches)
        session.subscriptions[self.channel.account] = subscription
        self.size += 1
        self._set_state(subscription, CatchUp.BEHIND)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Removes a subscription."""
        self._set_state(subscription, CatchUp.INACTIVE)
        del subscription.session.subscriptions[self.channel.account]
        self.size -= 1

    def fall_behind(self, subscription: Subscription, position: Position | None) -> None:
        """Reads again from the position. Called when frames beyond it were dropped from the outbox."""
        subscription.position = position
        self._set_state(subscription, CatchUp.BEHIND)

    def _set_state(self, subscription: Subscription, state: CatchUp) -> None:
        """Changes the state of a subscription. No other code does."""
        session, previous = subscription.session, subscription.state
        if previous is CatchUp.IN_STEP:
            self._in_step.discard(session)
        elif previous is CatchUp.AHEAD:
            self._ahead.discard(subscription)
        elif previous is CatchUp.READING:
            self._reading.discard(subscription)
            session.reads -= 1
            self._effects.sessions_behind.add(session)
        subscription.state = state
        if state is CatchUp.IN_STEP:
            self._in_step.add(session)
        elif state is CatchUp.AHEAD:
            self._ahead.add(subscription)
        elif state is CatchUp.READING:
            self._reading.add(subscription)
            session.reads += 1
        elif state is CatchUp.BEHIND and previous is not CatchUp.BEHIND:
            session.behind.append(subscription)
            self._effects.sessions_behind.add(session)

    # --- reads

    def catch_up(self, subscription: Subscription) -> None:
        """Sends what a new subscription misses from history, or else requests a read for it."""
        if self.channel.disowned and self.channel.disowned.covers(subscription.position):
            subscription.position = DISOWNED
        if subscription.unanswered and (frames := self._missed_frames(subscription)) is not None:
            self._history.count_recovery()
            self._send_missed(subscription, frames)
            return
        self._set_state(subscription, CatchUp.READING)
        self.channel.request_read(subscription.position)
        self._effects.subscribers_to_read.add(self)

    def _missed_frames(self, subscription: Subscription) -> list[Frame] | None:
        """Returns the frames that lead from the subscription to the channel, or None if a read is needed."""
        channel, position = self.channel, subscription.position
        if channel.position is None or channel.has_gap:
            return None
        if (
            position
            and position.epoch == channel.position.epoch
            and channel.position.revision - position.revision > self._recovery_max_revisions
        ):
            return None
        return self._history.chain(channel.account, position, channel.position)

    def _send_missed(self, subscription: Subscription, frames: list[Frame]) -> None:
        assert self.channel.position
        self._move(subscription, self.channel.position)
        self._send_all(subscription, frames)

    def begin_read(self) -> None:
        """Begins the next read, if there is a read to begin."""
        if self.channel.uncounted_gap:
            self._effects.opened_gaps.append(self.channel.uncounted_gap)
            self.channel.uncounted_gap = None
        if positions := self.channel.begin_read():
            self._current_read = AccountRead(self.channel.account, positions)
            self._effects.reads.append(self._current_read)

    def is_current(self, read: AccountRead) -> bool:
        """Returns whether the read is running, and not a read for earlier subscribers of this account."""
        return self._current_read is read

    def on_read_failed(self, retry_after_ms: int) -> None:
        """Rejects new subscriptions that waited for the read. The others wait for the next read."""
        unanswered = self.channel.on_read_failed()
        self._effects.subscribers_to_read.add(self)
        waiting = [subscription for subscription in self._reading if subscription.position in unanswered]
        for subscription in waiting:
            if subscription.unanswered:
                self._reject(subscription, retry_after_ms)
            else:
                self._set_state(subscription, CatchUp.BEHIND)

    def _reject(self, subscription: Subscription, retry_after_ms: int) -> None:
        """Answers `unavailable`. Only for a client that was sent nothing yet."""
        channel = channel_name(self.channel.account)
        message = "the database is unavailable; retry later"
        subscription.session.send(
            Error("unavailable", message, temporary=True, channel=channel, retry_after_ms=retry_after_ms)
        )
        self._effects.sessions_to_flush.add(subscription.session)
        self.unsubscribe(subscription)

    def reject_unanswered(self, retry_after_ms: int) -> None:
        """Answers `unavailable` to every subscriber that was sent nothing yet.

        Called when Redis has not acknowledged the subscription in time.
        """
        for subscription in [subscription for subscription in self._reading if subscription.unanswered]:
            self._reject(subscription, retry_after_ms)

    def on_read(self, recoveries: Recoveries, now: float) -> None:
        """Relays what the read brought, and answers the subscriptions that waited for it."""
        disowned = self.channel.disowned
        outcome = self.channel.on_read(recoveries, now)
        if self.channel.disowned != disowned:
            self._forget_frames()
        self._effects.subscribers_to_read.add(self)
        for frame in outcome.to_relay:
            self._relay(frame)
        for recovery in recoveries.values():
            if recovery.frame and recovery.reached == recovery.current:
                self._history.store(recovery.frame)
        for subscription in list(self._reading):
            # A subscription that fell behind while others were answered asks from another position.
            if subscription.state is CatchUp.READING and subscription.position in recoveries:
                self._answer(subscription, recoveries[subscription.position], outcome.continuation)

    def _answer(self, subscription: Subscription, recovery: Recovery, continuation: list[Frame]) -> None:
        is_complete = recovery.reached == recovery.current
        frames = [recovery.frame] if recovery.frame else []
        if is_complete:
            frames += continuation
        self._move(subscription, frames[-1].after if frames else recovery.reached, more=not is_complete)
        self._send_all(subscription, frames)

    def _send_all(self, subscription: Subscription, frames: list[Frame]) -> None:
        subscription.unanswered = False
        for frame in frames:
            if (
                not self._send(subscription, frame) or frame.is_last
            ):  # an account may be erased twice meanwhile
                break

    def _move(self, subscription: Subscription, position: Position, more: bool = False) -> None:
        """Moves a subscription to the position; `more`: there are further pages to read."""
        subscription.position = position
        current = self.channel.position
        if position == current and not more:
            self._set_state(subscription, CatchUp.IN_STEP)
        elif more or (
            current is not None and current.epoch == position.epoch and current.revision > position.revision
        ):
            self._set_state(subscription, CatchUp.BEHIND)
        else:
            self._set_state(subscription, CatchUp.AHEAD)

    def check_ahead(self, stored: Position) -> None:
        """Reads again for subscriptions that are ahead of Postgres. It may have lost what they were answered.

        If it has not, because an audit is older than their answer, the read changes nothing.
        """
        for subscription in list(self._ahead):
            position = subscription.position
            assert position is not None
            if position.epoch == stored.epoch and position.revision > stored.revision:
                self._set_state(subscription, CatchUp.BEHIND)

    def disown_content(self) -> None:
        """Replaces what clients show. Called when an audit has found other content than was relayed."""
        self.channel.disown_content()
        self._forget_frames()
        self._effects.subscribers_to_read.add(self)

    def _forget_frames(self) -> None:
        """Reads again for all subscriptions that may have been sent frames that the channel disowns."""
        self._history.forget(self.channel.account)
        for subscription in [*self._ahead, *self._reading]:
            self._set_state(subscription, CatchUp.BEHIND)

    # --- deltas

    def on_delta(self, delta: Delta) -> None:
        """Relays the delta, or requests a read if it opened a gap."""
        if frame := self.channel.on_delta(delta):
            self._relay(frame)
        elif self.channel.has_gap:
            self._effects.subscribers_to_read.add(self)

    def _relay(self, frame: Frame) -> None:
        self._history.store(frame)
        self._send_in_step(frame)
        if self._ahead:
            for subscription in list(self._ahead):
                self._send_ahead(subscription, frame)

    def _send_in_step(self, frame: Frame) -> None:
        in_step = self._in_step
        if not frame.mergeable and (frame.is_last or changes_epoch(frame)):
            for session in list(in_step):
                self._send(session.subscriptions[self.channel.account], frame)
            return
        self._effects.sessions_to_flush |= in_step
        full = []  # an overflow changes `in_step`
        for session in in_step:
            if not session.outbox.put(frame):
                full.append(session)
        for session in full:
            session.overflow()

    def _send_ahead(self, subscription: Subscription, frame: Frame) -> None:
        match fit(subscription.position, frame):
            case "gap":
                self._set_state(subscription, CatchUp.BEHIND)
            case "next":
                subscription.position = frame.after
                self._send(subscription, frame)
        if subscription.state is CatchUp.AHEAD and subscription.position == self.channel.position:
            self._set_state(subscription, CatchUp.IN_STEP)

    def _send(self, subscription: Subscription, frame: Frame) -> bool:
        """Puts the frame into the outbox. Returns False if the subscription fell behind instead."""
        session = subscription.session
        self._effects.sessions_to_flush.add(session)
        if changes_epoch(frame) and (dropped := session.outbox.drop_account(frame.account)):
            if dropped.before is None:  # the client has nothing yet: it is sent a snapshot, not this change
                self.fall_behind(subscription, None)
                return False
            frame = replace(frame, before=dropped.before)
        if frame.is_last:
            # Data may be dropped for want of room, and then nothing would read it again for this client.
            session.outbox.drop_account(frame.account)
            session.outbox.put_control(frame.text, frame.event)
            self.unsubscribe(subscription)
        elif not session.outbox.put(frame):
            session.overflow()
            return False
        return True


def changes_epoch(frame: Frame) -> bool:
    """Returns whether the frame leads into another epoch. Queued frames of the old epoch are dropped then."""
    return frame.before is not None and frame.before.epoch != frame.after.epoch
