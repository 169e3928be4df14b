"""What a ledger should say, worked out from the whole history each time, with no state to get wrong."""

from fractions import Fraction
from typing import NamedTuple

from livebalance.recorder.ledger import Verdict
from livebalance.wire.identity import Offset
from livebalance.wire.kafka.record import Transfer


class Seen(NamedTuple):
    """A transfer record as it stands on the topic."""

    offset: Offset
    key: bytes
    transfer: Transfer

    @property
    def name(self) -> tuple[str, str]:
        return self.transfer.account, self.transfer.id

    @property
    def mine(self) -> bool:
        return self.key == self.transfer.account.encode()

    @property
    def worth(self) -> Fraction:
        return Fraction(self.transfer.amount.unscaled, 10**self.transfer.amount.scale)


class Truth(NamedTuple):
    """A verdict, and the account after it: its balance, and how many transfers made it."""

    verdict: Verdict
    balance: Fraction
    version: int


def truth(history: list[Seen], window: int) -> list[Truth]:
    """Of each record, applied once, in order."""
    applied: list[Seen] = []
    found: list[Truth] = []
    for n, seen in enumerate(history):
        verdict = _verdict(history[:n], applied, seen, window)
        if verdict in (Verdict.APPLIED, Verdict.OPENED):
            applied.append(seen)
        mine = [other for other in applied if other.transfer.account == seen.transfer.account]
        found.append(Truth(verdict, _sum(mine), len(mine)))
    return found


def _verdict(before: list[Seen], applied: list[Seen], seen: Seen, window: int) -> Verdict:
    if not seen.mine:
        return Verdict.REJECTED
    if any(o.mine and o.name == seen.name and o.offset >= seen.offset - window for o in before):
        return Verdict.DUPLICATE
    mine = [other for other in applied if other.transfer.account == seen.transfer.account]
    scale = max(other.transfer.amount.scale for other in [*mine, seen])
    if not -(2**63) <= (_sum(mine) + seen.worth) * 10**scale < 2**63:
        return Verdict.REJECTED
    return Verdict.APPLIED if mine else Verdict.OPENED


def _sum(transfers: list[Seen]) -> Fraction:
    return sum((seen.worth for seen in transfers), Fraction(0))
