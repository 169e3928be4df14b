"""Exact amounts: a whole number and its count of decimal places, as in Kafka (decision 1)."""

from typing import NamedTuple

from livebalance.wire.errors import DecodeError

MAX_SCALE = 18
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_TEXT_LENGTH = 64  # characters; any sum of int64 amounts is shorter


class Money(NamedTuple):
    """The amount `unscaled` / 10**`scale`. Arithmetic uses whole numbers, so nothing is ever rounded.

    Two amounts are equal as tuples only if their scales are equal; `same_value` compares their worth.
    """

    unscaled: int
    scale: int

    def __str__(self) -> str:
        """Returns a decimal string in the amount's scale, as "12.50", "-0.05" or "0.00"; never "-0"."""
        unscaled, scale = self
        sign = "-" if unscaled < 0 else ""
        digits = str(abs(unscaled)).zfill(scale + 1)
        return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits

    def at_scale(self, scale: int) -> "Money":
        """Returns the same worth with more decimal places.

        Raises:
            ValueError: `scale` is smaller than the amount's scale.
        """
        if scale < self.scale:
            raise ValueError("a smaller scale would round")
        return Money(self.unscaled * 10 ** (scale - self.scale), scale)

    def add(self, other: "Money") -> "Money":
        """Returns the sum, at the larger of both scales."""
        if self.scale == other.scale:  # the common case
            return Money(self.unscaled + other.unscaled, self.scale)
        scale = max(self.scale, other.scale)
        return Money(self.at_scale(scale).unscaled + other.at_scale(scale).unscaled, scale)

    def subtract(self, other: "Money") -> "Money":
        """Returns the difference, at the larger of both scales."""
        if self.scale == other.scale:
            return Money(self.unscaled - other.unscaled, self.scale)
        return self.add(Money(-other.unscaled, other.scale))

    def same_value(self, other: "Money") -> bool:
        """Returns whether both amounts are worth the same, whatever their scales."""
        if self.scale == other.scale:  # the common case
            return self.unscaled == other.unscaled
        return self.subtract(other).unscaled == 0


ZERO = Money(0, 0)


def parse_money(text: str) -> Money:
    """Returns the amount of a decimal string.

    Raises:
        DecodeError: `text` has another form ("1e3", "+1", "-0", " 1"), or more than 64 characters.
    """
    whole, point, decimals = text.removeprefix("-").partition(".")
    is_number = whole.isascii() and whole.isdigit() and (whole == "0" or whole[0] != "0")
    if (
        len(text) > MAX_TEXT_LENGTH
        or not is_number
        or (point and not (decimals.isascii() and decimals.isdigit()))
    ):
        raise DecodeError("invalid amount")
    amount = Money(int(whole + decimals), len(decimals))
    if not text.startswith("-"):
        return amount
    if amount.unscaled == 0:
        raise DecodeError("invalid amount")
    return Money(-amount.unscaled, amount.scale)
