"""One channel of a session: the account it follows, what is shown of it, and what has been asked for it."""

from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from livebalance.client.account import Account
from livebalance.client.backoff import pause
from livebalance.wire.frame import ChannelRequest, named
from livebalance.wire.identity import AccountId, channel_name

ANSWER_WITHIN = 10.0  # seconds until a question without an answer is put again


class Phase(Enum):
    WANTED = auto()  # to be asked for when `due`
    ASKED = auto()  # the answer is expected before `due`
    LIVE = auto()  # deltas follow


@dataclass(slots=True)
class Channel:
    """What is shown stays through holes, errors and reconnects: the next question names its position."""

    account: AccountId
    shown: Account | None = None
    phase: Phase = Phase.WANTED
    due: float = 0.0
    request: int = 0  # the id of the last question
    failures: int = 0  # since the last frame that applied

    def question(self) -> ChannelRequest:
        return ChannelRequest(channel_name(self.account), named(self.shown.position) if self.shown else None)

    def ask(self, request: int, now: float) -> None:
        self.phase, self.request, self.due = Phase.ASKED, request, now + ANSWER_WITHIN

    def answered(self) -> None:
        """A question with a position may have no other answer than its ok: nothing was missing."""
        if self.shown:
            self.phase, self.due = Phase.LIVE, inf

    def move(self, state: Account) -> None:
        self.shown, self.phase, self.due, self.failures = state, Phase.LIVE, inf, 0

    def want(self, due: float = 0.0) -> None:
        self.phase, self.due = Phase.WANTED, due

    def fail(self, now: float, chance: float, at_least: float = 0.0) -> None:
        """Ask again, later with each failure; a first hole is asked for at once."""
        wait = at_least if not self.failures else max(at_least, pause(self.failures, chance))
        self.failures += 1
        self.want(now + wait)
