"""What the machines want done; a shell takes it after each input."""

from typing import TYPE_CHECKING, NamedTuple

from livebalance.gateway.live.collections import OrderedSet
from livebalance.wire.close import CloseCode
from livebalance.wire.identity import AccountId, Position

if TYPE_CHECKING:
    from livebalance.gateway.live.session import Authenticate, Session
    from livebalance.gateway.live.subscribers import Subscribers


class AccountRead:
    """A read of one account for readers at `afters`, all of one moment. Itself names it in the answer."""

    __slots__ = ("account", "afters")

    def __init__(self, account: AccountId, afters: frozenset[Position | None]) -> None:
        self.account = account
        self.afters = afters


class Disconnect(NamedTuple):
    """The connection is to be closed with this code; the reason says when to come back."""

    code: CloseCode
    reason: str
    retry_after_ms: int | None = None


class Effects:
    """Mutable on purpose: a delta of an account with thousands of followers makes no object for each."""

    def __init__(self) -> None:
        self.subscriptions: dict[AccountId, bool] = {}  # in Redis: whether each is to be there
        self.reads: list[AccountRead] = []
        self.touched: OrderedSet[Session] = OrderedSet()  # their outbox is to be sent
        self.tokens: list[tuple[Session, Authenticate]] = []  # to be checked
        self.hangups: list[tuple[Session, Disconnect]] = []
        self.repairs: list[str] = []  # why holes opened; to be counted
        # These two the hub works off itself, before a shell sees anything.
        self.hungry: OrderedSet[Session] = (
            OrderedSet()
        )  # a follower of theirs is behind, and there may be room now
        self.unread: OrderedSet[Subscribers] = OrderedSet()  # a read of theirs may begin now

    def take(self) -> "Effects":
        """All of them; this object then has none."""
        taken = Effects()
        self.__dict__, taken.__dict__ = taken.__dict__, self.__dict__
        return taken
