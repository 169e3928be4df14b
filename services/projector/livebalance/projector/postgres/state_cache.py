"""Accounts and transfers as they stand in Postgres: remembered from the last batches, else read."""

from collections.abc import Collection, Sequence

from livebalance.projector.fold.account import Account, restored
from livebalance.projector.fold.disputes import Disputes
from livebalance.projector.fold.fold import FoldResult, Named, accounts_of
from livebalance.projector.fold.records import Incoming
from livebalance.projector.postgres.cache import Cache
from livebalance.projector.postgres.store import Store
from livebalance.readmodel.rows import ListedTransfer
from livebalance.wire.identity import AccountId, Lane


class StateCache:
    """True only while nobody else writes: it begins anew with each claim."""

    def __init__(self, store: Store, size: int) -> None:
        self._store = store
        self._accounts: Cache[AccountId, Account] = Cache(size)
        self._listed: Cache[Named, ListedTransfer] = Cache(size)
        self.doubts = Disputes()

    async def begin(self, lanes: list[Lane], cut: Collection[Lane]) -> None:
        """Anew, for lanes just claimed; some are `cut`: not read from their start."""
        self._accounts.clear()
        self._listed.clear()
        self.doubts.forget()
        self.doubts.take(map(restored, await self._store.doubted(lanes)), cut)

    async def accounts(self, batch: Sequence[Incoming]) -> dict[AccountId, Account]:
        """Those of the batch that exist."""
        ids = accounts_of(batch)
        known = self._accounts.known(ids)
        for row in await self._store.stored(list(ids - known.keys())):
            known[row.account] = restored(row)
        return known

    async def listed(self, named: set[Named]) -> dict[Named, ListedTransfer]:
        """Those that are in the list."""
        known = self._listed.known(named)
        known.update(await self._store.listed(list(named - known.keys())))
        return known

    def keep(self, folded: FoldResult, cut: Collection[Lane]) -> None:
        """Postgres has taken it."""
        if any(change.erased for change in folded.changes.values()):
            self._listed.clear()
        self._accounts.keep({id_: change.account for id_, change in folded.changes.items()})
        self._listed.keep(folded.listed)
        self.doubts.take((change.account for change in folded.changes.values()), cut)
