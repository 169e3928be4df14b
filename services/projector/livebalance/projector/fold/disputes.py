"""Tracks the accounts of the owned lanes that are disputed, drift, or have an unverified balance."""

from collections.abc import Collection, Iterable

from livebalance.projector.fold.account import Account
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.timestamp import Millis


class Disputes:
    """Counts such accounts for the metrics. Updated after each batch, and reloaded when lanes are claimed."""

    def __init__(self) -> None:
        self._unverified_since: dict[AccountId, Millis] = {}
        self._disputed: set[AccountId] = set()
        self._drifting: set[AccountId] = set()

    def update(self, accounts: Iterable[Account], cut_lanes: Collection[Lane] = ()) -> None:
        """Records the current state of `accounts`. The lanes `cut_lanes` were not read from their start."""
        for account in accounts:
            if account.unverified_since is None or (
                account.lane in cut_lanes and _names_unread_transfer(account)
            ):
                self._unverified_since.pop(account.id, None)
            else:
                self._unverified_since[account.id] = account.unverified_since
            if account.disputed_since is None:
                self._disputed.discard(account.id)
                self._drifting.discard(account.id)
            else:
                self._disputed.add(account.id)
                self._update_drift(account)

    def _update_drift(self, account: Account) -> None:
        """Expects a disputed account: every account that drifts is disputed."""
        if account.drift is not None and account.drift.unscaled:
            self._drifting.add(account.id)
        else:
            self._drifting.discard(account.id)

    def clear(self) -> None:
        """Forgets all accounts."""
        self._unverified_since.clear()
        self._disputed.clear()
        self._drifting.clear()

    @property
    def disputed(self) -> int:
        """The number of disputed accounts."""
        return len(self._disputed)

    @property
    def drifting(self) -> int:
        """The number of accounts that drift."""
        return len(self._drifting)

    def longest_unverified_ms(self, now: Millis) -> int:
        """Returns how long the longest unverified account has been unverified; 0 if all are verified."""
        return max(0, now - min(self._unverified_since.values(), default=now))


def _names_unread_transfer(account: Account) -> bool:
    """Returns whether the balance names a transfer from before the start of reading."""
    return account.opening is None and not account.transfer_count
