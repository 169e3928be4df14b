"""Accounts as they were last written, so that a batch need not read them again."""

from collections import OrderedDict
from collections.abc import Iterable

from livebalance.projector.account import Account
from livebalance.wire.identity import AccountId


class Cache:
    """At most `size` accounts; the longest unused go first. Cleared whenever an owner may have changed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._accounts: OrderedDict[AccountId, Account] = OrderedDict()

    def known(self, ids: Iterable[AccountId]) -> dict[AccountId, Account]:
        return {id_: account for id_ in ids if (account := self._accounts.get(id_)) is not None}

    def keep(self, accounts: Iterable[Account]) -> None:
        for account in accounts:
            self._accounts[account.id] = account
            self._accounts.move_to_end(account.id)
        while len(self._accounts) > self._size:
            self._accounts.popitem(last=False)

    def clear(self) -> None:
        self._accounts.clear()
