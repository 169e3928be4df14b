"""The total of a set: the sum of its members' balances per currency, as `sum(balance)` in SQL."""

from collections import Counter

from livebalance.wire.money import ZERO, Money, parse_money
from livebalance.wire.views import MemberView, TotalView


class SetTotals:
    """Sums that members are added to and removed from.

    Sums are kept per scale: the scale of a sum in SQL is the greatest of the rows that it still has.
    """

    def __init__(self) -> None:
        self._sums: dict[str | None, Counter[int]] = {}  # unscaled, by scale
        self._counts: dict[str | None, Counter[int]] = {}  # members, by scale

    def add(self, member: MemberView) -> None:
        """Adds the balance of a member."""
        self._change(member, 1)

    def remove(self, member: MemberView) -> None:
        """Removes the balance of a member that was added."""
        self._change(member, -1)

    def _change(self, member: MemberView, sign: int) -> None:
        amount = parse_money(member.amount)
        counts = self._counts.setdefault(member.currency, Counter())
        sums = self._sums.setdefault(member.currency, Counter())
        counts[amount.scale] += sign
        sums[amount.scale] += sign * amount.unscaled
        if not counts[amount.scale]:
            del counts[amount.scale], sums[amount.scale]
        if not counts:
            del self._counts[member.currency], self._sums[member.currency]

    def views(self) -> list[TotalView]:
        """Returns the totals in the order of their currencies, first that of members without a currency."""
        return [
            TotalView(currency, str(self._sum(currency)), sum(self._counts[currency].values()))
            for currency in sorted(self._sums, key=lambda currency: currency or "")
        ]

    def _sum(self, currency: str | None) -> Money:
        total = ZERO
        for scale, unscaled in self._sums[currency].items():
            total = total.add(Money(unscaled, scale))
        return total
