"""Exact amounts: a whole number and the count of its decimal places, as Kafka carries them."""

from decimal import Context, Decimal
from typing import NamedTuple

from livebalance.wire.errors import DecodeError

MAX_SCALE = 18
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_TEXT = 64  # characters; any sum of int64 amounts is shorter


class Money(NamedTuple):
    """`unscaled` / 10**`scale`. Arithmetic is on whole numbers, so nothing is ever rounded.

    Two amounts are equal as tuples only with equal scales; ask `same_value` for equal worth.
    """

    unscaled: int
    scale: int

    def __str__(self) -> str:
        """With its own scale, without exponent and without "-0": "12.50", "-0.05", "0.00"."""
        digits = str(abs(self.unscaled))
        sign = "-" if self.unscaled < 0 else ""
        if self.scale == 0:
            return sign + digits
        digits = digits.rjust(self.scale + 1, "0")
        return f"{sign}{digits[: -self.scale]}.{digits[-self.scale :]}"

    @property
    def decimal(self) -> Decimal:
        return Decimal(self.unscaled).scaleb(-self.scale, context=_EXACT)

    @property
    def fits_int64(self) -> bool:
        return INT64_MIN <= self.unscaled <= INT64_MAX

    def at_scale(self, scale: int) -> "Money":
        """The same worth with more decimal places; `scale` is never smaller than its own."""
        if scale < self.scale:
            raise ValueError("a smaller scale would round")
        return Money(self.unscaled * 10 ** (scale - self.scale), scale)

    def plus(self, other: "Money") -> "Money":
        """The sum, at the larger of both scales."""
        if self.scale == other.scale:  # nearly always
            return Money(self.unscaled + other.unscaled, self.scale)
        scale = max(self.scale, other.scale)
        return Money(self.at_scale(scale).unscaled + other.at_scale(scale).unscaled, scale)

    def minus(self, other: "Money") -> "Money":
        return self.plus(Money(-other.unscaled, other.scale))

    def same_value(self, other: "Money") -> bool:
        return self.minus(other).unscaled == 0


_EXACT = Context(prec=120)  # any sum of int64 amounts at any scale fits many times over
NOTHING = Money(0, 0)


def money(text: str) -> Money:
    """The amount a decimal string spells. Raises DecodeError for any other form ("1e3", "+1", "-0", " 1").

    A text over 64 characters is refused.
    """
    whole, point, places = text.removeprefix("-").partition(".")
    plain = whole.isascii() and whole.isdigit() and (whole == "0" or whole[0] != "0")
    if len(text) > MAX_TEXT or not plain or (point and not (places.isascii() and places.isdigit())):
        raise DecodeError("bad amount")
    found = Money(int(whole + places), len(places))
    if not text.startswith("-"):
        return found
    if found.unscaled == 0:
        raise DecodeError("bad amount")
    return Money(-found.unscaled, found.scale)


def of_decimal(value: Decimal) -> Money:
    """`value` (a numeric of SQL) with its own scale. Raises ValueError for NaN and infinities."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("not a number")
    unscaled = int("".join(map(str, digits)) or "0") * (-1 if sign else 1)
    return Money(unscaled, -exponent) if exponent <= 0 else Money(unscaled * 10**exponent, 0)
