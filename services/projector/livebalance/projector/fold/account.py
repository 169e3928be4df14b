"""The state of an account, and how a record changes it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from livebalance.readmodel.rows import BalanceRow, StoredBalance
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Lane, Offset, Revision, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import ZERO, Money
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import BalanceView

_UNIX_EPOCH = Millis(0)

DRIFT = "balance, opening and transfers do not add up"


class AmountTexts(NamedTuple):
    """The amounts of an account as decimal strings, for SQL and for clients."""

    balance: str | None
    opening: str | None
    half_applied: str | None
    drift: str | None


class ErasedBounds(NamedTuple):
    """The records of an account that an erasure covers: those below these offsets of its partition."""

    transfers: Offset
    balances: Offset


@dataclass(slots=True)
class Account:
    """An account's state. A fold changes only its own clone.

    The balance is verified while `named_total` is known: the running sum at the transfer that it names.
    """

    id: AccountId
    lane: Lane
    revision: Revision = INITIAL_REVISION
    amount: Money | None = None  # None until the first balance record
    version: int | None = None
    transfer_id: TransferId | None = None
    client_id: str | None = None
    opening: Money | None = None
    posted_total: Money = ZERO
    transfer_count: int = 0
    named_total: Money | None = None
    unverified_since: Millis | None = None
    disputed_since: Millis | None = None
    disputed_why: str | None = None
    transfers_offset: Offset | None = None
    balances_offset: Offset | None = None
    recorded_at: Millis = _UNIX_EPOCH
    opening_known: bool = False  # from the lifecycle topic; False: derived from the first verified balance
    erased: ErasedBounds | None = None  # of the last erasure that named its bounds
    half_applied_since: Millis | None = None
    erased_offset: Offset | None = None  # of the topic of transfers, at the last erasure
    currency: str | None = None  # of the stored row
    _texts: AmountTexts | None = field(default=None, compare=False)  # at this revision; None: not made yet

    def clone(self) -> "Account":
        """Returns a copy."""
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
            self.opening_known,
            self.erased,
            self.half_applied_since,
            self.erased_offset,
            self.currency,
        )

    @property
    def half_applied(self) -> Money | None:
        """The sum of listed transfers that the balance does not include yet; None while unverified."""
        return None if self.named_total is None else self.posted_total.subtract(self.named_total)

    @property
    def drift(self) -> Money | None:
        """0 if balance = opening + running sum at its transfer; None while unverified."""
        if self.named_total is None or self.amount is None or self.opening is None:
            return None
        return self.amount.subtract(self.opening).subtract(self.named_total)

    @property
    def texts(self) -> AmountTexts:
        """The amounts as text, made once at each revision."""
        if self._texts is None:
            self._texts = AmountTexts(
                _text(self.amount), _text(self.opening), _text(self.half_applied), _text(self.drift)
            )
        return self._texts

    def apply_transfer(self, transfer: Transfer, offset: Offset, at: Millis) -> None:
        """Adds a transfer that is not listed yet. Its running sum is the new `posted_total`."""
        self._advance(at)
        self.transfers_offset = offset
        self.posted_total = self.posted_total.add(transfer.amount)
        self.transfer_count += 1
        if self.transfer_id == transfer.id:
            self._verify(self.posted_total)
        else:
            self._wait()
        self._note_half_applied(self.half_applied_since)

    def apply_balance(
        self, balance: Balance, named_total: Money | None, offset: Offset, at: Millis, *, cut: bool = False
    ) -> None:
        """Replaces the balance by a balance of a higher version.

        `named_total` is the running sum at the transfer that the balance names; None: it is not listed yet.
        `cut`: the lane was not read from its start. Then the balance of an account without transfers does not
        wait, because its transfer may be from before the start.
        """
        self._advance(at)
        self.balances_offset = offset
        self.amount, self.version = balance.amount, balance.version
        self.transfer_id, self.client_id = balance.transfer_id, balance.client_id
        self.named_total = None
        if named_total is not None:
            self._verify(named_total)
        elif not cut or self.opening is not None or self.transfer_count:
            self._wait()
        self._note_half_applied(None)

    def has_balance(self, balance: Balance) -> bool:
        """Returns whether `balance` equals the current balance."""
        return (self.version, self.amount, self.transfer_id, self.client_id) == (
            balance.version,
            balance.amount,
            balance.transfer_id,
            balance.client_id,
        )

    def dispute(self, reason: str, at: Millis) -> None:
        """Marks the account as disputed because its input contradicts itself. The first reason stays."""
        if self.disputed_since is None:
            self._advance(at)
            self._set_disputed(reason)

    def open(self, opening: Money, at: Millis) -> None:
        """Replaces a derived opening by the known opening."""
        self._advance(at)
        self.opening, self.opening_known = opening, True
        self._verify_again()

    def forget_opening(self, at: Millis) -> None:
        """Removes an opening from before the erasure, which was applied before this opening."""
        self._advance(at)
        self.opening, self.opening_known = None, False
        if self.disputed_why == DRIFT:
            self.disputed_since, self.disputed_why = None, None
        self._verify_again()

    def erase(self, bounds: ErasedBounds | None, offset: Offset, at: Millis, transfers_next: Offset) -> None:
        """Removes everything but the revision, which keeps increasing.

        A balance from after the erasure stays. The caller lists the transfers from after the erasure again.

        Args:
            bounds: What the erasure covers. None: everything that was applied before.
            offset: Offset of the erasure in the topic of balances.
            at: Kafka's time of the erasure.
            transfers_next: Offset of the first transfer after an erasure that has no bounds.
        """
        self._advance(at)
        self.erased = bounds or self.erased
        if self.balances_offset is None or self.balances_offset <= offset:
            self.amount, self.version, self.transfer_id, self.client_id = None, None, None, None
            self.balances_offset = offset
        self.opening, self.opening_known = None, False
        self.posted_total, self.transfer_count = ZERO, 0
        self.disputed_since, self.disputed_why = None, None
        self.unverified_since, self.half_applied_since = None, None
        self.erased_offset = transfers_next if bounds is None else bounds.transfers
        self.named_total = ZERO if self.transfer_id == "" else None
        self._verify_again()
        self._wait()

    def covers(self, bounds: ErasedBounds) -> bool:
        """Returns whether this erasure, or a later erasure, is applied."""
        return self.erased is not None and bounds.balances <= self.erased.balances

    def _advance(self, at: Millis) -> None:
        self.revision = Revision(self.revision + 1)
        self.recorded_at = max(self.recorded_at, at)
        self._texts = None

    def _wait(self) -> None:
        """Notes since when the balance waits for its transfer, if it does."""
        if self.amount is not None and self.named_total is None and self.unverified_since is None:
            self.unverified_since = self.recorded_at

    def _verify_again(self) -> None:
        if self.named_total is not None:
            self._verify(self.named_total)

    def _note_half_applied(self, since: Millis | None) -> None:
        """Notes since when transfers are listed that the balance does not include: `since`, or now.

        A new balance record begins anew, so that an account that keeps moving is never old.
        """
        if self.amount is None:
            lacks_balance = self.transfer_count > 0
        else:
            named_total = self.named_total
            lacks_balance = named_total is not None and not self.posted_total.same_value(named_total)
        self.half_applied_since = (self.recorded_at if since is None else since) if lacks_balance else None

    def _verify(self, named_total: Money) -> None:
        assert self.amount is not None, "an account that names a transfer has a balance"
        self.named_total, self.unverified_since = named_total, None
        if self.opening is None:
            self.opening = self.amount.subtract(named_total)
        elif self.disputed_since is None and not self.amount.subtract(self.opening).same_value(named_total):
            self._set_disputed(DRIFT)

    def _set_disputed(self, reason: str) -> None:
        self.disputed_since, self.disputed_why = self.recorded_at, reason

    def view(self, currency: str | None) -> BalanceView | None:
        """Returns the balance as clients receive it; None before the first balance record."""
        if self.amount is None:
            return None
        assert self.version is not None
        assert self.transfer_id is not None
        assert self.client_id is not None
        amount, opening, half_applied, drift = self.texts
        assert amount is not None
        return BalanceView(
            amount,
            currency,
            self.version,
            self.revision,
            self.transfer_id,
            self.client_id,
            opening,
            half_applied,
            drift,
            None if self.disputed_since is None else format_rfc3339(self.disputed_since),
        )

    def row(self, from_: Revision, currency: str | None, erased_revision: Revision) -> BalanceRow:
        """Returns the row to write over the stored row at revision `from_`.

        `erased_revision` is that of an erasure since then; 0: there was none.
        """
        amount, opening, half_applied, drift = self.texts
        return BalanceRow(
            self.id,
            from_,
            self.revision,
            self.lane,
            amount,
            None if self.amount is None else self.amount.scale,
            None if self.amount is None else currency,
            self.version,
            self.transfer_id,
            self.client_id,
            opening,
            str(self.posted_total),
            self.transfer_count,
            half_applied,
            drift,
            self.unverified_since,
            self.disputed_since,
            self.disputed_why,
            self.transfers_offset,
            self.balances_offset,
            self.recorded_at,
            self.opening_known,
            None if self.erased is None else self.erased.transfers,
            None if self.erased is None else self.erased.balances,
            erased_revision,
            self.half_applied_since,
            self.erased_offset,
        )


def _text(amount: Money | None) -> str | None:
    return None if amount is None else str(amount)


def account_from_row(row: StoredBalance) -> Account:
    """Returns the account that a stored row describes."""
    named_total = None if row.half_applied is None else row.posted_total.subtract(row.half_applied)
    bounds = row.erased_transfers_before, row.erased_balances_before
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
        named_total,
        row.unverified_since,
        row.disputed_since,
        row.disputed_why,
        row.transfers_offset,
        row.balances_offset,
        row.recorded_at,
        row.opening_known,
        None if bounds[0] is None or bounds[1] is None else ErasedBounds(bounds[0], bounds[1]),
        row.half_applied_since,
        row.erased_offset,
        row.currency,
    )
