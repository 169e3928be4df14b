"""The ledger of a partition: decides which balances a transfer makes. Pure: it reads and writes nothing."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from livebalance.wire.identity import AccountId, Offset, TransferId
from livebalance.wire.kafka.record import Balance, Transfer, rejection_reason
from livebalance.wire.money import MAX_SCALE, Money

NO_OFFSET = Offset(-1)
_ERASED_OFFSETS = 100_000  # far more than one batch, whose balances may follow the erasure in their topic


class Verdict(StrEnum):
    """What the ledger did with a transfer."""

    APPLIED = "applied"
    OPENED = "opened"  # applied, and the account had no balance before
    REJECTED = "rejected"  # the transfer, or the balance it would make, is not admissible
    UNDECODABLE = "undecodable"  # the value is no transfer; decided before the ledger
    DUPLICATE = "duplicate"  # the window before it has the same id
    ALREADY_RECORDED = "already_recorded"  # the account's balance contains it already
    ERASED = "erased"  # the account was erased after it


REJECTS = frozenset({Verdict.REJECTED, Verdict.UNDECODABLE})


class Decision(NamedTuple):
    """A verdict, the balances to write (an opening first), and the reason of a rejection."""

    verdict: Verdict
    balances: tuple[Balance, ...] = ()
    reason: str = ""


class LedgerAccount(NamedTuple):
    """The newest balance of an account, and the offset of the last transfer in it."""

    balance: Balance
    source: Offset


class Accounts(Protocol):
    """The accounts of a partition by their id, like a dictionary."""

    def get(self, account: AccountId, /) -> LedgerAccount | None:
        """Returns an account; None if it has no balance."""

    def __setitem__(self, account: AccountId, value: LedgerAccount, /) -> None:
        """Changes an account."""

    def pop(self, account: AccountId, default: None, /) -> LedgerAccount | None:
        """Removes an account."""


class Ledger:
    """The balances of a partition's accounts, and the recent transfer ids.

    Transfers are applied and balances are restored in the order of their topics. If the caller fails to write
    a decision, the ledger is ahead of the topic: it is discarded and restored.

    Args:
        window: The number of offsets for which a transfer id is remembered.
        rejected: Offsets of transfers that were rejected before the ledger was restored. Their ids are not
            remembered, so that the same transfers can be sent again.
        max_scale: The largest scale of an admissible transfer.
        accounts: The accounts. None: the ledger begins without accounts.
        erased: What `erased` of the ledger has returned that knew these accounts.
    """

    def __init__(
        self,
        window: int,
        rejected: Collection[Offset] = (),
        max_scale: int = MAX_SCALE,
        accounts: Accounts | None = None,
        erased: Mapping[AccountId, Offset] | None = None,
    ) -> None:
        self._window, self._rejected, self._max_scale = window, rejected, max_scale
        self._accounts: Accounts = {} if accounts is None else accounts
        self._erased = dict(erased or {})  # offsets below which the transfers of an account are erased
        self._applied = NO_OFFSET  # offset of the last transfer
        self._seen: dict[tuple[AccountId, TransferId], Offset] = {}  # oldest first

    def restore(self, balance: Balance, source: Offset = NO_OFFSET) -> None:
        """Restores the next balance record. `source` is the offset of the last transfer in it, if known.

        A balance without any transfer from after the erasure of its account is ignored.
        """
        if NO_OFFSET < source < self._erased.get(balance.account, NO_OFFSET):
            return
        known = self._accounts.get(balance.account)
        newest = max(source, known.source) if known else source
        self._accounts[balance.account] = LedgerAccount(balance, newest)

    def remove(self, account: AccountId, before: Offset | None = None) -> None:
        """Removes an account that was erased, with its transfers below `before` (None: unknown)."""
        self._accounts.pop(account, None)
        if before is not None:
            self._erased[account] = before

    @property
    def erased(self) -> dict[AccountId, Offset]:
        """Offsets below which the transfers of erased accounts are erased, unless many transfers followed."""
        oldest = self._applied - _ERASED_OFFSETS
        self._erased = {account: before for account, before in self._erased.items() if before >= oldest}
        return self._erased

    def remember_id(self, offset: Offset, key: bytes | None, transfer: Transfer) -> None:
        """Remembers the id of a transfer that was applied before the ledger was restored."""
        if offset not in self._rejected and rejection_reason(transfer, key, self._max_scale) is None:
            self._remember_id(offset, transfer)

    def has_unknown_account(self, transfers: Iterable[Transfer]) -> bool:
        """Returns whether any of the transfers belongs to an account without a balance."""
        return any(self._accounts.get(transfer.account) is None for transfer in transfers)

    def apply(self, offset: Offset, key: bytes | None, transfer: Transfer) -> Decision:
        """Applies the next transfer of the partition."""
        self._applied = offset
        if reason := rejection_reason(transfer, key, self._max_scale):
            return Decision(Verdict.REJECTED, reason=reason)
        if offset < self._erased.get(transfer.account, NO_OFFSET):
            return Decision(Verdict.ERASED)
        account = self._accounts.get(transfer.account)
        if account and offset <= account.source:
            self.remember_id(offset, key, transfer)
            return Decision(Verdict.ALREADY_RECORDED)
        if self._remember_id(offset, transfer):
            return Decision(Verdict.DUPLICATE)
        decision = self._update_balance(offset, transfer, account)
        if decision.verdict is Verdict.REJECTED:
            del self._seen[transfer.account, transfer.id]
        return decision

    def _update_balance(self, offset: Offset, transfer: Transfer, account: LedgerAccount | None) -> Decision:
        before = account.balance if account else _opening(transfer)
        after = Balance(
            transfer.account,
            before.client_id,
            transfer.id,
            before.amount.add(transfer.amount),
            before.version + 1,
        )
        if reason := rejection_reason(after, transfer.account.encode()):
            return Decision(Verdict.REJECTED, reason=f"balance: {reason}")
        self._accounts[transfer.account] = LedgerAccount(after, offset)
        return Decision(Verdict.APPLIED, (after,)) if account else Decision(Verdict.OPENED, (before, after))

    def _remember_id(self, offset: Offset, transfer: Transfer) -> bool:
        """Remembers the id, forgets ids outside the window, and returns whether the id was remembered."""
        while self._seen and (oldest := next(iter(self._seen.items())))[1] < offset - self._window:
            del self._seen[oldest[0]]
        name = transfer.account, transfer.id
        repeated = self._seen.pop(name, None) is not None
        self._seen[name] = offset
        return repeated


def _opening(transfer: Transfer) -> Balance:
    return Balance(transfer.account, "", TransferId(""), Money(0, transfer.amount.scale), 0)
