"""How a batch changes the totals of the sets of accounts that clients follow (decision 46)."""

from collections.abc import Iterable, Iterator

from livebalance.projector.fold.account import Account
from livebalance.readmodel.rows import SetDifference
from livebalance.wire.identity import AccountId, Lane, SetName
from livebalance.wire.money import Money

_Key = tuple[str, Lane, str | None, int]  # channel, lane, currency, scale


class SetIndex:
    """Finds the sets of an account, among those that clients of any gateway follow."""

    def __init__(self, names: Iterable[SetName] = ()) -> None:
        self._prefixes: dict[int, dict[str, str]] = {}  # channels by prefix, by the length of the prefix
        self._clients: dict[str, str] = {}
        for name in names:
            if name.kind == "prefix":
                self._prefixes.setdefault(len(name.value), {})[name.value] = name.channel
            else:
                self._clients[name.value] = name.channel

    def __bool__(self) -> bool:
        """Returns whether there is any set."""
        return bool(self._prefixes or self._clients)

    def channels(self, account: AccountId, client_id: str | None) -> Iterator[str]:
        """Yields the channels of the sets that an account with a balance belongs to."""
        for length, channels in self._prefixes.items():
            if (channel := channels.get(account[:length])) is not None:
                yield channel
        if client_id is not None and (channel := self._clients.get(client_id)) is not None:
            yield channel


def set_differences(
    index: SetIndex, changes: Iterable[tuple[Account | None, Account]], currency: str | None
) -> list[SetDifference]:
    """Returns what to add to the totals of each lane.

    Args:
        index: The sets.
        changes: Each account before the batch (None: it did not exist) and after it.
        currency: Of the rows that the batch writes.
    """
    sums: dict[_Key, tuple[int, int]] = {}  # accounts, and their unscaled balances
    for before, after in changes if index else ():
        if before is not None:
            _add(sums, index, before, before.currency, -1)
        _add(sums, index, after, currency, 1)
    return [
        SetDifference(*key, accounts, Money(unscaled, key[3]))
        for key, (accounts, unscaled) in sums.items()
        if accounts or unscaled
    ]


def _add(
    sums: dict[_Key, tuple[int, int]],
    index: SetIndex,
    account: Account,
    currency: str | None,
    sign: int,
) -> None:
    if account.amount is None:
        return
    unscaled, scale = account.amount
    for channel in index.channels(account.id, account.client_id):
        key = (channel, account.lane, currency, scale)
        accounts, sum_ = sums.get(key, (0, 0))
        sums[key] = accounts + sign, sum_ + sign * unscaled
