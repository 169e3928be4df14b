"""The total of a set: the sum of its members' balances per currency, as `sum(balance)` in SQL."""

from collections.abc import Iterable

from livebalance.readmodel.sets.reads import Member
from livebalance.wire.identity import Lane
from livebalance.wire.money import ZERO, Money, parse_money
from livebalance.wire.sets.batch import KeptTotal
from livebalance.wire.views import MemberView, TotalView


class LaneTotal:
    """What a lane has of a set.

    Sums are kept per scale: the scale of a sum in SQL is the greatest of the rows that it still has.
    """

    __slots__ = ("sums",)

    def __init__(self) -> None:
        # Members, and the sum of their unscaled balances, per currency and scale.
        self.sums: dict[tuple[str | None, int], tuple[int, int]] = {}

    def copy(self) -> "LaneTotal":
        """Returns a copy."""
        copied = LaneTotal()
        copied.sums = dict(self.sums)
        return copied

    def change(self, member: MemberView, sign: int) -> None:
        """Adds (1) or removes (-1) the balance of a member."""
        amount = parse_money(member.amount)
        key = member.currency, amount.scale
        count, unscaled = self.sums.get(key, (0, 0))
        if count + sign:
            self.sums[key] = count + sign, unscaled + sign * amount.unscaled
        else:
            del self.sums[key]

    def equals(self, kept: Iterable[KeptTotal]) -> bool:
        """Returns whether the lane's owner keeps the same total."""
        others: dict[tuple[str | None, int], tuple[int, int]] = {}
        for total in kept:
            amount = parse_money(total.amount)
            if total.accounts or amount.unscaled:
                others[total.currency, amount.scale] = total.accounts, amount.unscaled
        return others == self.sums


class SetTotals:
    """The total of each lane, that members are added to and removed from."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, LaneTotal] = {}

    def of_lane(self, lane: Lane) -> LaneTotal:
        """Returns what a lane has of the set."""
        return self._lanes.setdefault(lane, LaneTotal())

    def add(self, member: Member) -> None:
        """Adds the balance of a member."""
        self.of_lane(member.lane).change(member.view, 1)

    def remove(self, member: Member) -> None:
        """Removes the balance of a member that was added."""
        self.of_lane(member.lane).change(member.view, -1)

    def views(self) -> list[TotalView]:
        """Returns the totals in the order of their currencies, first that of members without a currency."""
        totals: dict[str | None, tuple[int, Money]] = {}
        for lane in self._lanes.values():
            for (currency, scale), (count, unscaled) in lane.sums.items():
                accounts, amount = totals.get(currency, (0, ZERO))
                totals[currency] = accounts + count, amount.add(Money(unscaled, scale))
        return [
            TotalView(currency, str(amount), accounts)
            for currency, (accounts, amount) in sorted(totals.items(), key=lambda item: item[0] or "")
        ]


def lane_total(members: Iterable[Member], lane: Lane) -> LaneTotal:
    """Returns what a lane has of these members."""
    total = LaneTotal()
    for member in members:
        if member.lane == lane:
            total.change(member.view, 1)
    return total
