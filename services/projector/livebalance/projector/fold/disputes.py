"""The accounts of the owned lanes that are disputed, drift, or wait for the transfer their balance names."""

from collections.abc import Collection, Iterable

from livebalance.projector.fold.account import Account
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.timestamp import Millis


class Disputes:
    """Kept in step with what Postgres has taken; loaded when lanes are claimed."""

    def __init__(self) -> None:
        self._waiting: dict[AccountId, Millis] = {}
        self._disputed: set[AccountId] = set()
        self._drifting: set[AccountId] = set()

    def take(self, accounts: Iterable[Account], cut: Collection[Lane] = ()) -> None:
        """As they stand now. Of lanes that are `cut`, what was before a time was never read."""
        for account in accounts:
            if account.unverified_since is None or (account.lane in cut and _is_of_before(account)):
                self._waiting.pop(account.id, None)
            else:
                self._waiting[account.id] = account.unverified_since
            if account.disputed_since is None:
                self._disputed.discard(account.id)
                self._drifting.discard(account.id)
            else:
                self._disputed.add(account.id)
                self._look_for_drift(account)

    def _look_for_drift(self, account: Account) -> None:
        """Only of one that is disputed: whoever drifts is."""
        if account.drift is not None and account.drift.unscaled:
            self._drifting.add(account.id)
        else:
            self._drifting.discard(account.id)

    def forget(self) -> None:
        self._waiting.clear()
        self._disputed.clear()
        self._drifting.clear()

    @property
    def disputed(self) -> int:
        """How many accounts."""
        return len(self._disputed)

    @property
    def drifting(self) -> int:
        """How many accounts."""
        return len(self._drifting)

    def waiting_ms(self, now: Millis) -> int:
        """How long the longest unverified account has been so; 0 when all are verified."""
        return max(0, now - min(self._waiting.values(), default=now))


def _is_of_before(account: Account) -> bool:
    """Its balance names a transfer that was not to be read: it waits for its next one."""
    return account.opening is None and not account.transfer_count
