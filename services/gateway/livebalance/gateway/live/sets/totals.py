"""The total of a set: the sum of its members' balances per currency, as `sum(balance)` in SQL."""

from collections.abc import Iterable

from livebalance.readmodel.sets.reads import Member
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import Lane
from livebalance.wire.money import ZERO, Money, parse_money
from livebalance.wire.sets.batch import KeptTotal
from livebalance.wire.views import MemberView, TotalView


class Total:
    """Sums of balances, to which members are added and from which they are removed.

    They are kept per scale: the scale of a sum in SQL is the greatest of the rows that it still has.
    """

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        # Members, and the sum of their unscaled balances, per currency and scale.
        self._sums: dict[tuple[str | None, int], tuple[int, int]] = {}

    def copy(self) -> "Total":
        """Returns a copy."""
        copied = Total()
        copied._sums = dict(self._sums)
        return copied

    def change(self, member: MemberView, sign: int) -> None:
        """Adds (1) or removes (-1) the balance of a member."""
        self.change_amount(member.currency, parse_money(member.amount), sign)

    def change_amount(self, currency: str | None, amount: Money, sign: int) -> None:
        """Adds (1) or removes (-1) a balance."""
        key = currency, amount.scale
        count, unscaled = self._sums.get(key, (0, 0))
        if count + sign:
            self._sums[key] = count + sign, unscaled + sign * amount.unscaled
        else:
            del self._sums[key]

    def equals(self, kept: Iterable[KeptTotal]) -> bool:
        """Returns whether the owner of a lane keeps the same sums."""
        others: dict[tuple[str | None, int], tuple[int, int]] = {}
        for total in kept:
            try:
                amount = parse_money(total.amount)
            except DecodeError:
                return False
            if total.accounts or amount.unscaled:
                others[total.currency, amount.scale] = total.accounts, amount.unscaled
        return others == self._sums

    def views(self) -> list[TotalView]:
        """Returns the sums in the order of their currencies, first that of members without a currency."""
        totals: dict[str | None, tuple[int, Money]] = {}
        for (currency, scale), (count, unscaled) in self._sums.items():
            accounts, amount = totals.get(currency, (0, ZERO))
            totals[currency] = accounts + count, amount.add(Money(unscaled, scale))
        return [
            TotalView(currency, str(amount), accounts)
            for currency, (accounts, amount) in sorted(totals.items(), key=lambda item: item[0] or "")
        ]


class SetTotals:
    """The total of a set, and what each lane has of it."""

    def __init__(self) -> None:
        self._whole = Total()
        self._lanes: dict[Lane, Total] = {}

    def of_lane(self, lane: Lane) -> Total:
        """Returns what a lane has of the set."""
        return self._lanes.setdefault(lane, Total())

    def add(self, member: Member) -> None:
        """Adds the balance of a member."""
        self._change(member, 1)

    def remove(self, member: Member) -> None:
        """Removes the balance of a member that was added."""
        self._change(member, -1)

    def _change(self, member: Member, sign: int) -> None:
        currency, amount = member.view.currency, parse_money(member.view.amount)
        self._whole.change_amount(currency, amount, sign)
        self.of_lane(member.lane).change_amount(currency, amount, sign)

    def views(self) -> list[TotalView]:
        """Returns the total in the order of its currencies, first that of members without a currency."""
        return self._whole.views()


def lane_total(members: Iterable[Member], lane: Lane) -> Total:
    """Returns what a lane has of these members."""
    total = Total()
    for member in members:
        if member.lane == lane:
            total.change(member.view, 1)
    return total
