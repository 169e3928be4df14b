"""One account: what a record does to it. Owned by one fold at a time, which works on a clone."""

from dataclasses import dataclass

from livebalance.readmodel.rows import BalanceRow, StoredBalance
from livebalance.wire.identity import ZERO, AccountId, Lane, Offset, Revision, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import NOTHING, Money
from livebalance.wire.timestamp import Millis, rfc3339
from livebalance.wire.views import BalanceView

_LONG_AGO = Millis(0)

DRIFT = "balance, opening and transfers do not add up"


@dataclass(slots=True)
class Account:
    """A balance is verified while `named_total`, the running sum at the transfer it names, is known."""

    id: AccountId
    lane: Lane
    revision: Revision = ZERO
    amount: Money | None = None  # None until the first balance record
    version: int | None = None
    transfer_id: TransferId | None = None
    client_id: str | None = None
    opening: Money | None = None
    posted_total: Money = NOTHING
    transfer_count: int = 0
    named_total: Money | None = None
    unverified_since: Millis | None = None
    disputed_since: Millis | None = None
    disputed_why: str | None = None
    transfers_offset: Offset | None = None
    balances_offset: Offset | None = None
    recorded_at: Millis = _LONG_AGO

    def clone(self) -> "Account":
        return Account(
            self.id,
            self.lane,
            self.revision,
            self.amount,
            self.version,
            self.transfer_id,
            self.client_id,
            self.opening,
            self.posted_total,
            self.transfer_count,
            self.named_total,
            self.unverified_since,
            self.disputed_since,
            self.disputed_why,
            self.transfers_offset,
            self.balances_offset,
            self.recorded_at,
        )

    @property
    def half_applied(self) -> Money | None:
        """What the list already shows and the balance does not yet; None while unverified."""
        return None if self.named_total is None else self.posted_total.minus(self.named_total)

    @property
    def drift(self) -> Money | None:
        """0 when balance = opening + the running sum at its transfer; None while unverified."""
        if self.named_total is None or self.amount is None or self.opening is None:
            return None
        return self.amount.minus(self.opening).minus(self.named_total)

    def post(self, transfer: Transfer, offset: Offset, at: Millis) -> None:
        """A transfer not listed before. Its total is `posted_total` from now on."""
        self._advance(at)
        self.transfers_offset = offset
        self.posted_total = self.posted_total.plus(transfer.amount)
        self.transfer_count += 1
        if self.transfer_id == transfer.id:
            self._verify(self.posted_total)

    def show(self, balance: Balance, named_total: Money | None, offset: Offset, at: Millis) -> None:
        """A balance of a higher version; `named_total`: the total of its transfer, None while not listed."""
        self._advance(at)
        self.balances_offset = offset
        self.amount, self.version = balance.amount, balance.version
        self.transfer_id, self.client_id = balance.transfer_id, balance.client_id
        self.named_total = None
        if named_total is not None:
            self._verify(named_total)
        elif self.unverified_since is None:
            self.unverified_since = self.recorded_at

    def shows(self, balance: Balance) -> bool:
        """Whether `balance` says what already stands."""
        return (self.version, self.amount, self.transfer_id, self.client_id) == (
            balance.version,
            balance.amount,
            balance.transfer_id,
            balance.client_id,
        )

    def contradict(self, why: str, at: Millis) -> None:
        """The input contradicts itself: the account is disputed from its first contradiction on."""
        if self.disputed_since is None:
            self._advance(at)
            self._dispute(why)

    def erase(self, offset: Offset, at: Millis) -> None:
        """Nothing is left but the revision, which goes on growing."""
        self._advance(at)
        bare = Account(self.id, self.lane)
        self.amount, self.version, self.transfer_id, self.client_id = None, None, None, None
        self.opening, self.posted_total, self.transfer_count = None, bare.posted_total, 0
        self.named_total, self.unverified_since = None, None
        self.disputed_since, self.disputed_why = None, None
        self.balances_offset = offset

    def _advance(self, at: Millis) -> None:
        self.revision = Revision(self.revision + 1)
        self.recorded_at = max(self.recorded_at, at)

    def _verify(self, total: Money) -> None:
        assert self.amount is not None, "an account that names a transfer has a balance"
        self.named_total, self.unverified_since = total, None
        if self.opening is None:
            self.opening = self.amount.minus(total)
        elif self.disputed_since is None and not self.amount.minus(self.opening).same_value(total):
            self._dispute(DRIFT)

    def _dispute(self, why: str) -> None:
        self.disputed_since, self.disputed_why = self.recorded_at, why

    def view(self, currency: str | None) -> BalanceView | None:
        """What a client is shown; None before the first balance."""
        if self.amount is None:
            return None
        assert self.version is not None
        assert self.transfer_id is not None
        assert self.client_id is not None
        return BalanceView(
            str(self.amount),
            currency,
            self.version,
            self.revision,
            self.transfer_id,
            self.client_id,
            _text(self.opening),
            _text(self.half_applied),
            _text(self.drift),
            None if self.disputed_since is None else rfc3339(self.disputed_since),
        )

    def row(self, from_: Revision, currency: str | None) -> BalanceRow:
        return BalanceRow(
            self.id,
            from_,
            self.revision,
            self.lane,
            _text(self.amount),
            None if self.amount is None else self.amount.scale,
            None if self.amount is None else currency,
            self.version,
            self.transfer_id,
            self.client_id,
            _text(self.opening),
            str(self.posted_total),
            self.transfer_count,
            _text(self.half_applied),
            _text(self.drift),
            self.unverified_since,
            self.disputed_since,
            self.disputed_why,
            self.transfers_offset,
            self.balances_offset,
            self.recorded_at,
        )


def _text(amount: Money | None) -> str | None:
    return None if amount is None else str(amount)


def restored(row: StoredBalance) -> Account:
    """The account of a stored row."""
    named = None if row.half_applied is None else row.posted_total.minus(row.half_applied)
    return Account(
        row.account,
        row.lane,
        row.revision,
        row.balance,
        row.version,
        row.transfer_id,
        row.client_id,
        row.opening,
        row.posted_total,
        row.transfer_count,
        named,
        row.unverified_since,
        row.disputed_since,
        row.disputed_why,
        row.transfers_offset,
        row.balances_offset,
        row.recorded_at,
    )
