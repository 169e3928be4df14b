"""The projection told slowly: every record looks at the whole past of its account again."""

from dataclasses import dataclass, field
from fractions import Fraction

from livebalance.projector.fold.records import Erasure, Incoming, Rejected
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money


def worth(amount: Money) -> Fraction:
    return Fraction(amount.unscaled, 10**amount.scale)


@dataclass
class Truth:
    """One account."""

    revision: int = 0
    transfers: list[tuple[int, int, Transfer]] = field(default_factory=list)  # revision, recorded_at
    shown: Balance | None = None
    opening: Fraction | None = None
    disputed_since: int | None = None
    recorded_at: int = 0

    def totals(self) -> list[Fraction]:
        amounts = [worth(transfer.amount) for _, _, transfer in self.transfers]
        return [sum(amounts[: count + 1], Fraction(0)) for count in range(len(amounts))]

    def total_of(self, id_: str) -> Fraction | None:
        """The running sum at a transfer; None while it is not listed."""
        if id_ == "":
            return Fraction(0)
        ids: list[str] = [transfer.id for _, _, transfer in self.transfers]
        return self.totals()[ids.index(id_)] if id_ in ids else None

    @property
    def named(self) -> Fraction | None:
        return None if self.shown is None else self.total_of(self.shown.transfer_id)

    @property
    def posted(self) -> Fraction:
        return sum((worth(transfer.amount) for _, _, transfer in self.transfers), Fraction(0))

    @property
    def drift(self) -> Fraction | None:
        if self.shown is None or self.named is None or self.opening is None:
            return None
        return worth(self.shown.amount) - self.opening - self.named


@dataclass
class Naive:
    accounts: dict[AccountId, Truth] = field(default_factory=dict)
    duplicates: int = 0
    stale: int = 0
    quarantined: int = 0

    def take(self, one: Incoming) -> None:
        what = one.content
        if isinstance(what, Rejected):
            self.quarantined += 1
            return
        truth = self.accounts.setdefault(what.account, Truth())
        if isinstance(what, Transfer):
            self._transfer(truth, what, one.at)
        elif isinstance(what, Balance):
            self._balance(truth, what, one.at)
        elif isinstance(what, Erasure):
            fresh = Truth(truth.revision, recorded_at=truth.recorded_at)
            self.accounts[what.account] = fresh
            self._grow(fresh, one.at)
        self._check(self.accounts[what.account])

    def _transfer(self, truth: Truth, transfer: Transfer, at: int) -> None:
        same = [earlier for _, _, earlier in truth.transfers if earlier.id == transfer.id]
        if not same:
            self._grow(truth, at)
            truth.transfers.append((truth.revision, truth.recorded_at, transfer))
        elif same == [transfer]:
            self.duplicates += 1
        else:
            self.quarantined += 1
            self._dispute(truth, at)

    def _balance(self, truth: Truth, balance: Balance, at: int) -> None:
        if truth.shown is None or balance.version > truth.shown.version:
            self._grow(truth, at)
            truth.shown = balance
        elif balance == truth.shown:
            self.duplicates += 1
        else:
            self.stale += 1
            if balance.version == truth.shown.version or truth.total_of(balance.transfer_id) is None:
                self._dispute(truth, at)

    def _check(self, truth: Truth) -> None:
        if truth.shown is not None and truth.named is not None:
            if truth.opening is None:
                truth.opening = worth(truth.shown.amount) - truth.named
            if truth.drift and truth.disputed_since is None:
                truth.disputed_since = truth.recorded_at

    def _dispute(self, truth: Truth, at: int) -> None:
        if truth.disputed_since is None:
            self._grow(truth, at)
            truth.disputed_since = truth.recorded_at

    def _grow(self, truth: Truth, at: int) -> None:
        truth.revision += 1
        truth.recorded_at = max(truth.recorded_at, at)


def told(batch: list[Incoming]) -> Naive:
    naive = Naive()
    for one in batch:
        naive.take(one)
    return naive
