"""The members of a set in the order of their last change, and the accounts that left it.

Each change has a number. A client that has everything up to a number lacks the changes after it, and nothing
else: the older changes of the same accounts do not matter any more. So the order replaces a queue for each
client, and a snapshot is what a client at number 0 lacks.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from msgspec import Struct

from livebalance.gateway.live.sets.totals import SetTotals
from livebalance.readmodel.sets.reads import Member
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.views import MemberView

MAX_LEFT = 1000  # accounts that left and are remembered; with more, clients that are behind get a snapshot


class MemberChange(Struct, gc=False):
    """The last change of an account. Without a view, the account has left the set."""

    number: int
    account: AccountId
    lane: Lane
    view: MemberView | None


class Members:
    """Numbers the changes from 1 on."""

    def __init__(self) -> None:
        self.totals = SetTotals()
        self.newest = 0  # number of the newest change
        self.forgotten = 0  # accounts that left until this change may be forgotten
        self._changes: dict[AccountId, MemberChange] = {}  # the last of each account
        self._order: list[MemberChange] = []  # ascending numbers; may contain changes that are not the last
        self._left = 0

    def __len__(self) -> int:
        """Returns the number of members."""
        return len(self._changes) - self._left

    def __contains__(self, account: AccountId) -> bool:
        """Returns whether the account is a member."""
        return self.view(account) is not None

    def view(self, account: AccountId) -> MemberView | None:
        """Returns a member; None if the account is none."""
        change = self._changes.get(account)
        return None if change is None else change.view

    def __iter__(self) -> Iterator[MemberChange]:
        """Yields the members."""
        return (change for change in self._changes.values() if change.view is not None)

    def put(self, member: Member) -> None:
        """Adds or replaces a member."""
        self._change(member.view.account, member.lane, member.view)
        self.totals.add(member)

    def remove(self, account: AccountId) -> None:
        """Removes a member."""
        self._change(account, self._changes[account].lane, None)
        self._left += 1
        if self._left > MAX_LEFT:
            self._forget_left()

    def _change(self, account: AccountId, lane: Lane, view: MemberView | None) -> None:
        self.newest += 1
        if previous := self._changes.get(account):
            if previous.view is None:
                self._left -= 1
            else:
                self.totals.remove(Member(previous.view, previous.lane))
        change = self._changes[account] = MemberChange(self.newest, account, lane, view)
        self._order.append(change)
        if len(self._order) > 2 * len(self._changes) + MAX_LEFT:
            self._order = [change for change in self._order if self._is_last(change)]

    def _is_last(self, change: MemberChange) -> bool:
        return self._changes.get(change.account) is change

    def _forget_left(self) -> None:
        """Forgets the older half of the accounts that left."""
        left = sorted((change for change in self._changes.values() if change.view is None), key=_number)
        for change in left[: len(left) - MAX_LEFT // 2]:
            del self._changes[change.account]
            self._left, self.forgotten = self._left - 1, change.number

    def replace(self, fresh: Mapping[AccountId, Member]) -> list[MemberChange]:
        """Changes the members to others. Returns what each account that changed was before."""
        changed = [change for change in self if not _equals(change, fresh.get(change.account))]
        for change in changed:
            if change.account not in fresh:
                self.remove(change.account)
        for account, member in fresh.items():
            change_before = self._changes.get(account)
            if change_before is None or not _equals(change_before, member):
                if change_before is None or change_before.view is None:
                    changed.append(MemberChange(0, account, member.lane, None))
                self.put(member)
        return changed

    def skip(self) -> int:
        """Leaves out a number, so that no client has everything. Returns it."""
        self.newest += 1
        return self.newest

    def after(self, number: int, count: int, left_after: int) -> tuple[list[MemberChange], bool]:
        """Returns up to `count` changes after a number, in order, and whether more follow.

        Accounts that left are included only if they left after `left_after`.
        """
        changes: list[MemberChange] = []
        for index in range(bisect_right(self._order, number, key=_number), len(self._order)):
            change = self._order[index]
            if self._is_last(change) and (change.view is not None or change.number > left_after):
                if len(changes) == count:
                    return changes, True
                changes.append(change)
        return changes, False


def _number(change: MemberChange) -> int:
    return change.number


def _equals(change: MemberChange, member: Member | None) -> bool:
    return (change.view is None) == (member is None) and (member is None or change.view == member.view)
