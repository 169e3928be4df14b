"""The accounts and transfers that are kept in memory."""

from typing import Any

from livebalance.projector.fold.fold import fold
from livebalance.projector.postgres.state_cache import StateCache
from livebalance.readmodel.rows import StoredBalance
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money
from tests.unit.projector.histories import incoming_records


class EmptyStore:
    """A database without rows, and the keys that were read from it."""

    def __init__(self) -> None:
        self.read: list[Any] = []

    async def stored_balances(self, accounts: list[AccountId]) -> list[StoredBalance]:
        self.read += accounts
        return []


async def test_longest_unused_account_is_read_again() -> None:
    store = EmptyStore()
    cache = StateCache(store, 2)  # type: ignore[arg-type]
    batches = {
        name: incoming_records([Transfer(TransferId("t"), AccountId(name), Money(1, 0), 0)], [0])
        for name in ("a", "b", "c")
    }
    cache.store(fold(batches["a"], {}, {}))
    cache.store(fold(batches["b"], {}, {}))
    assert (await cache.accounts(batches["a"])).keys() == {"a"}
    cache.store(fold(batches["c"], {}, {}))
    assert store.read == []
    accounts = [await cache.accounts(batches[name]) for name in ("a", "c", "b")]
    assert [account.keys() for account in accounts] == [{"a"}, {"c"}, set()]
    assert store.read == ["b"]
    cache.clear()
    assert await cache.accounts(batches["a"]) == {}
