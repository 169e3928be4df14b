"""How a batch changes the numbers of accounts of its lanes that are disputed, drift, or are unverified."""

from collections.abc import Iterable

from livebalance.projector.fold.account import Account
from livebalance.readmodel.rows import Totals
from livebalance.wire.identity import Lane


def lane_differences(changes: Iterable[tuple[Account | None, Account]]) -> dict[Lane, Totals]:
    """Returns what to add to the totals of each lane.

    `changes` has each account before the batch (None: it did not exist) and after it.
    """
    differences: dict[Lane, Totals] = {}
    for before, after in changes:
        old, new = _totals(before), _totals(after)
        if old != new:
            sums = differences.get(after.lane, Totals())
            differences[after.lane] = Totals(
                *(total + added - removed for total, added, removed in zip(sums, new, old, strict=True))
            )
    return differences


def _totals(account: Account | None) -> Totals:
    if account is None or (account.disputed_since is None and account.unverified_since is None):
        return _NONE
    drifts = account.drift is not None and account.drift.unscaled != 0
    return Totals(
        int(account.disputed_since is not None), int(drifts), int(account.unverified_since is not None)
    )


_NONE = Totals()
