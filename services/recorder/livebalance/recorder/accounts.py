"""The accounts of a partition that are in memory. Pure: the caller reads and writes the others."""

from collections.abc import Iterable, Mapping
from itertools import islice

from livebalance.recorder.ledger import LedgerAccount
from livebalance.wire.identity import AccountId

Changes = dict[AccountId, LedgerAccount | None]  # None: the account has no balance


class LoadedAccounts:
    """The accounts of a ledger that were loaded or changed lately.

    An account is loaded before the ledger asks for it: an account that only seems to have no balance would be
    opened again.

    Args:
        limit: The number of accounts that stay in memory, beside those that changed since the last `drain`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loaded: Changes = {}  # least recently loaded or changed first
        self._changed: Changes = {}

    @property
    def changes(self) -> int:
        """Number of accounts that changed since the last `drain`."""
        return len(self._changed)

    def missing(self, accounts: Iterable[AccountId]) -> set[AccountId]:
        """Returns those of the accounts that are not loaded."""
        return {account for account in accounts if account not in self._loaded}

    def load(self, missing: Iterable[AccountId], stored: Mapping[AccountId, LedgerAccount]) -> None:
        """Loads accounts that are `missing`. An account that is not `stored` has no balance."""
        for account in missing:
            self._loaded[account] = stored.get(account)

    def get(self, account: AccountId) -> LedgerAccount | None:
        """Returns an account; None if it has no balance. Raises KeyError if it is not loaded."""
        return self._loaded[account]

    def __setitem__(self, account: AccountId, value: LedgerAccount) -> None:
        """Changes an account."""
        self._change(account, value)

    def pop(self, account: AccountId, default: None) -> None:
        """Removes an account."""
        self._change(account, default)

    def _change(self, account: AccountId, value: LedgerAccount | None) -> None:
        self._loaded.pop(account, None)  # to the end of the order
        self._loaded[account] = self._changed[account] = value

    def drain(self) -> Changes:
        """Returns the changes since the last call, which stay in memory until the next call."""
        changed, self._changed = self._changed, {}
        excess = len(self._loaded) - self._limit
        for account in list(islice(self._loaded, max(0, excess))):
            if account not in changed:
                del self._loaded[account]
        return changed
