"""A slow reference of the fold: each record looks at the whole past of its account again."""

from dataclasses import dataclass, field
from fractions import Fraction

from livebalance.projector.fold.records import Incoming
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.raw_record import Erasure, Rejected
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money


def exact_value(amount: Money) -> Fraction:
    return Fraction(amount.unscaled, 10**amount.scale)


@dataclass
class ReferenceAccount:
    """An account; `shown` is its balance."""

    revision: int = 0
    transfers: list[tuple[int, int, Transfer]] = field(default_factory=list)  # revision, recorded_at
    shown: Balance | None = None
    opening: Fraction | None = None
    disputed_since: int | None = None
    recorded_at: int = 0

    def totals(self) -> list[Fraction]:
        amounts = [exact_value(transfer.amount) for _, _, transfer in self.transfers]
        return [sum(amounts[: count + 1], Fraction(0)) for count in range(len(amounts))]

    def total_of(self, id_: str) -> Fraction | None:
        """Returns the running sum at a transfer; None if it is not listed."""
        if id_ == "":
            return Fraction(0)
        ids: list[str] = [transfer.id for _, _, transfer in self.transfers]
        return self.totals()[ids.index(id_)] if id_ in ids else None

    @property
    def named(self) -> Fraction | None:
        return None if self.shown is None else self.total_of(self.shown.transfer_id)

    @property
    def posted(self) -> Fraction:
        return sum((exact_value(transfer.amount) for _, _, transfer in self.transfers), Fraction(0))

    @property
    def drift(self) -> Fraction | None:
        if self.shown is None or self.named is None or self.opening is None:
            return None
        return exact_value(self.shown.amount) - self.opening - self.named


@dataclass
class ReferenceProjection:
    """All accounts, and the number of records that were not applied."""

    accounts: dict[AccountId, ReferenceAccount] = field(default_factory=dict)
    duplicates: int = 0
    stale: int = 0
    quarantined: int = 0

    def apply(self, record: Incoming) -> None:
        content = record.content
        if isinstance(content, Rejected):
            self.quarantined += 1
            return
        account = self.accounts.setdefault(content.account, ReferenceAccount())
        if isinstance(content, Transfer):
            self._apply_transfer(account, content, record.at)
        elif isinstance(content, Balance):
            self._apply_balance(account, content, record.at)
        elif isinstance(content, Erasure):
            erased = ReferenceAccount(account.revision, recorded_at=account.recorded_at)
            self.accounts[content.account] = erased
            self._advance(erased, record.at)
        self._verify(self.accounts[content.account])

    def _apply_transfer(self, account: ReferenceAccount, transfer: Transfer, at: int) -> None:
        same = [earlier for _, _, earlier in account.transfers if earlier.id == transfer.id]
        if not same:
            self._advance(account, at)
            account.transfers.append((account.revision, account.recorded_at, transfer))
        elif same == [transfer]:
            self.duplicates += 1
        else:
            self.quarantined += 1
            self._dispute(account, at)

    def _apply_balance(self, account: ReferenceAccount, balance: Balance, at: int) -> None:
        if account.shown is None or balance.version > account.shown.version:
            self._advance(account, at)
            account.shown = balance
        elif balance == account.shown:
            self.duplicates += 1
        else:
            self.stale += 1
            if balance.version == account.shown.version or account.total_of(balance.transfer_id) is None:
                self._dispute(account, at)

    def _verify(self, account: ReferenceAccount) -> None:
        if account.shown is not None and account.named is not None:
            if account.opening is None:
                account.opening = exact_value(account.shown.amount) - account.named
            if account.drift and account.disputed_since is None:
                account.disputed_since = account.recorded_at

    def _dispute(self, account: ReferenceAccount, at: int) -> None:
        if account.disputed_since is None:
            self._advance(account, at)
            account.disputed_since = account.recorded_at

    def _advance(self, account: ReferenceAccount, at: int) -> None:
        account.revision += 1
        account.recorded_at = max(account.recorded_at, at)


def project(batch: list[Incoming]) -> ReferenceProjection:
    reference = ReferenceProjection()
    for record in batch:
        reference.apply(record)
    return reference
