"""Effects: what the pure core wants done. The relay drains and performs them after each input."""

from typing import TYPE_CHECKING, NamedTuple

from livebalance.gateway.live.collections import OrderedSet
from livebalance.wire.close import CloseCode
from livebalance.wire.identity import AccountId, Position, SetName

if TYPE_CHECKING:
    from livebalance.gateway.live.channel import GapReason
    from livebalance.gateway.live.session import Authenticate, Session
    from livebalance.gateway.live.sets.set_channel import SetRead
    from livebalance.gateway.live.subscribers import Subscribers


class AccountRead:
    """A read of an account from Postgres, for clients at each of `positions`.

    Compared by identity: the answer names its read.
    """

    __slots__ = ("account", "positions")

    def __init__(self, account: AccountId, positions: frozenset[Position | None]) -> None:
        self.account = account
        self.positions = positions


class Disconnect(NamedTuple):
    """A close of a connection, with the code and the reason for its client."""

    code: CloseCode
    reason: str
    retry_after_ms: int | None = None


class Effects:
    """Collects effects. Mutable, so that a delta for thousands of subscribers creates no object for each."""

    def __init__(self) -> None:
        self.redis_subscriptions: dict[AccountId, bool] = {}  # True: subscribe; False: unsubscribe
        self.reads: list[AccountRead] = []
        self.batches_wanted: bool | None = (
            None  # True: subscribe to the batches of all lanes; None: no change
        )
        self.set_reads: list[SetRead] = []
        self.wrong_totals: list[SetName] = []  # a lane keeps another total of the set than SQL sums up
        self.sessions_to_flush: OrderedSet[Session] = OrderedSet()
        self.sessions_to_check: list[tuple[Session, float]] = []  # when each check was due
        self.tokens_to_check: list[tuple[Session, Authenticate]] = []
        self.disconnects: list[tuple[Session, Disconnect]] = []
        self.opened_gaps: list[GapReason] = []  # for the metrics
        # The hub works these two off itself, before the relay drains the rest.
        self.sessions_behind: OrderedSet[Session] = OrderedSet()  # some subscription may begin to catch up
        self.subscribers_to_read: OrderedSet[Subscribers] = OrderedSet()  # their next read may begin

    def drain(self) -> "Effects":
        """Removes and returns all effects."""
        drained = Effects()
        self.__dict__, drained.__dict__ = drained.__dict__, self.__dict__
        return drained
