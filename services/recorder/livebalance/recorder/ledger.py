"""The accounts of one partition: a transfer in, a balance out. Decides; reads and writes nothing."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from livebalance.wire.identity import AccountId, Offset, TransferId
from livebalance.wire.kafka.record import Balance, Transfer, admissible
from livebalance.wire.money import Money

BEFORE_ALL = Offset(-1)


class Verdict(StrEnum):
    """What became of one transfer."""

    APPLIED = "applied"
    OPENED = "opened"  # applied, and its account was not known before
    REJECTED = "rejected"  # by `admissible`: itself, or the balance it would make
    DUPLICATE = "duplicate"  # its id stands within the window before it
    ALREADY_RECORDED = "already_recorded"  # its account's balance already holds it


class Entry(NamedTuple):
    """A verdict, the balances to write for it (the opening first), and why it was refused."""

    verdict: Verdict
    balances: tuple[Balance, ...] = ()
    reason: str = ""


class LedgerAccount(NamedTuple):
    """The newest balance of an account, and the transfer offset it holds."""

    balance: Balance
    source: Offset


class Ledger:
    """Transfers of one partition in the order of their offsets; balances in the order they were written.

    `window` is how many offsets back an id is remembered. After an error of its caller a ledger may be ahead
    of the topic: it is thrown away and restored, never repaired.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._accounts: dict[AccountId, LedgerAccount] = {}
        self._seen: dict[tuple[AccountId, TransferId], Offset] = {}  # oldest first

    def restore(self, balance: Balance, source: Offset = BEFORE_ALL) -> None:
        """The next balance of the topic; `source` is its `source-offset`, if it has one."""
        known = self._accounts.get(balance.account)
        newest = max(source, known.source) if known else source
        self._accounts[balance.account] = LedgerAccount(balance, newest)

    def forget(self, account: AccountId) -> None:
        """The account was erased from the topic."""
        self._accounts.pop(account, None)

    def remember(self, offset: Offset, key: bytes | None, transfer: Transfer) -> None:
        """A transfer before the first one to apply: only its id counts."""
        if admissible(transfer, key) is None:
            self._sight(offset, transfer)

    def unknown(self, transfers: Iterable[Transfer]) -> bool:
        """Whether one of them is of an account that has no balance yet."""
        return any(transfer.account not in self._accounts for transfer in transfers)

    def apply(self, offset: Offset, key: bytes | None, transfer: Transfer) -> Entry:
        """The next transfer of the partition."""
        if reason := admissible(transfer, key):
            return Entry(Verdict.REJECTED, reason=reason)
        account = self._accounts.get(transfer.account)
        repeated = self._sight(offset, transfer)
        if account and offset <= account.source:
            return Entry(Verdict.ALREADY_RECORDED)
        if repeated:
            return Entry(Verdict.DUPLICATE)
        return self._post(offset, transfer, account)

    def _post(self, offset: Offset, transfer: Transfer, account: LedgerAccount | None) -> Entry:
        before = account.balance if account else _opening(transfer)
        after = Balance(
            transfer.account,
            before.client_id,
            transfer.id,
            before.amount.plus(transfer.amount),
            before.version + 1,
        )
        if reason := admissible(after, transfer.account.encode()):
            return Entry(Verdict.REJECTED, reason=f"balance: {reason}")
        self._accounts[transfer.account] = LedgerAccount(after, offset)
        return Entry(Verdict.APPLIED, (after,)) if account else Entry(Verdict.OPENED, (before, after))

    def _sight(self, offset: Offset, transfer: Transfer) -> bool:
        """Remembers the id at `offset`, forgets those outside the window; whether it was seen inside it."""
        while self._seen and (oldest := next(iter(self._seen.items())))[1] < offset - self._window:
            del self._seen[oldest[0]]
        name = transfer.account, transfer.id
        repeated = self._seen.pop(name, None) is not None
        self._seen[name] = offset
        return repeated


def _opening(transfer: Transfer) -> Balance:
    return Balance(transfer.account, "", TransferId(""), Money(0, transfer.amount.scale), 0)
