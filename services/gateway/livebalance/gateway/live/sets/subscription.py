"""The subscription of a session to a set, and what its client has of it."""

from enum import Enum, auto
from typing import TYPE_CHECKING

from livebalance.gateway.live.session import Session
from livebalance.wire.identity import Epoch, Position, Revision
from livebalance.wire.timestamp import Millis

if TYPE_CHECKING:
    from livebalance.gateway.live.sets.set_channel import SetChannel
    from livebalance.gateway.live.sets.sets import Sets


def make_position(number: int, left_after: int) -> Position:
    """Returns the position, in frames of a set, of a client that has everything up to a change.

    It does not know accounts that left until the change `left_after`, when its snapshot began.
    """
    return Position(Epoch(str(left_after)), Revision(number))


def parse_position(position: Position | None) -> tuple[int | None, int]:
    """Returns the numbers that `make_position` made a position of; None: the client needs a snapshot."""
    return (None, 0) if position is None else (position.revision, int(position.epoch))


class Stand(Enum):
    """How a subscription stands to its set."""

    BEHIND = auto()
    IN_STEP = auto()
    INACTIVE = auto()  # not subscribed


class SetSubscription:
    """A client that has everything up to the change `number`, or (None) needs a snapshot."""

    __slots__ = ("as_of", "channel", "left_after", "number", "session", "sets", "state", "unanswered")

    def __init__(self, sets: "Sets", session: Session, channel: "SetChannel") -> None:
        self.sets = sets
        self.session = session
        self.channel = channel
        self.state = Stand.BEHIND
        self.number: int | None = None
        self.left_after = 0  # accounts that left until this change are unknown to the client
        self.unanswered = True  # no frame was sent since the client subscribed
        self.as_of: Millis | None = None  # what was sent is complete as of that time

    @property
    def lacks_everything(self) -> bool:
        """Whether what the client lacks is not known change by change any more."""
        known = max(self.channel.members.forgotten, self.channel.replaced)
        return self.number is not None and max(self.number, self.left_after) < known
