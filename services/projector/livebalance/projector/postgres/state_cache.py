"""Keeps accounts and transfers of the last batches in memory, and reads all others from Postgres."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from livebalance.projector.fold.account import Account, account_from_row
from livebalance.projector.fold.fold import FoldResult, TransferKey, account_ids
from livebalance.projector.fold.records import Incoming
from livebalance.projector.postgres.store import Store
from livebalance.readmodel.rows import ListedTransfer
from livebalance.wire.identity import AccountId

K = TypeVar("K")
V = TypeVar("V")


class StateCache:
    """At most `size` accounts and `size` transfers; those that were unused for longest are dropped first.

    Valid only while no other process writes the lanes, so each claim clears it.
    """

    def __init__(self, store: Store, size: int, currency: str | None = None) -> None:
        """Caches rows. `currency` is that of the rows that batches write."""
        self._store, self._size, self._currency = store, size, currency
        self._accounts = OrderedDict[AccountId, Account]()  # those that were unused for longest first
        self._transfers = OrderedDict[TransferKey, ListedTransfer]()

    def clear(self) -> None:
        """Drops everything."""
        self._accounts.clear()
        self._transfers.clear()

    async def accounts(self, batch: Sequence[Incoming]) -> dict[AccountId, Account]:
        """Returns the accounts of the batch that exist."""
        ids = account_ids(batch)
        accounts = _cached(self._accounts, ids)
        for row in await self._store.stored_balances(list(ids - accounts.keys())):
            accounts[row.account] = account_from_row(row)
        return accounts

    async def listed_transfers(self, keys: set[TransferKey]) -> dict[TransferKey, ListedTransfer]:
        """Returns the transfers that are listed."""
        transfers = _cached(self._transfers, keys)
        transfers.update(await self._store.listed_transfers(list(keys - transfers.keys())))
        return transfers

    def store(self, folded: FoldResult) -> None:
        """Stores the result of a batch. Called after Postgres has committed it."""
        if any(change.erased for change in folded.changes.values()):
            self._transfers.clear()
        changed = {id_: change.account for id_, change in folded.changes.items()}
        for account in changed.values():
            account.currency = self._currency
        _store(self._accounts, changed, self._size)
        _store(self._transfers, folded.newly_listed, self._size)


def _cached(cache: OrderedDict[K, V], keys: Iterable[K]) -> dict[K, V]:
    cached = {key: value for key in keys if (value := cache.get(key)) is not None}
    for key in cached:
        cache.move_to_end(key)
    return cached


def _store(cache: OrderedDict[K, V], changed: Mapping[K, V], size: int) -> None:
    for key, value in changed.items():
        cache[key] = value
        cache.move_to_end(key)
    while len(cache) > size:
        cache.popitem(last=False)
