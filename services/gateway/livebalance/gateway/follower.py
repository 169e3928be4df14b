"""One session that follows one account: what its client has, or will have once its outbox is sent."""

from enum import Enum, auto
from typing import TYPE_CHECKING

from livebalance.gateway.outbox import Parcel
from livebalance.wire.identity import Position
from livebalance.wire.instant import Millis

if TYPE_CHECKING:
    from livebalance.gateway.audience import Audience
    from livebalance.gateway.session import Session


class Step(Enum):
    BEHIND = auto()  # to be read for, once its session has room
    READING = auto()
    APART = auto()  # where its channel is not; it hears what the channel relays next
    IN_STEP = auto()  # where its channel is
    GONE = auto()


class Follower:
    """`at` says nothing while it is in step: it is where its channel is then."""

    __slots__ = ("as_of", "at", "audience", "fresh", "session", "step")

    def __init__(self, session: "Session", audience: "Audience", at: Position | None) -> None:
        self.session = session
        self.audience = audience
        self.at = at
        self.step = Step.GONE  # until its audience takes it in
        self.fresh = True  # nothing was answered since it subscribed
        self.as_of: Millis | None = None  # what its client may be told


def fits(at: Position | None, parcel: Parcel) -> bool | None:
    """Whether `parcel` is the next after `at` (True), is past (False), or leaves something out (None)."""
    if at == parcel.before:
        return True
    before, after = parcel.before, parcel.after
    went_back = before is not None and before.epoch == after.epoch and after.revision < before.revision
    if at is not None and at.epoch == after.epoch and after.revision <= at.revision and not went_back:
        return False
    return None
