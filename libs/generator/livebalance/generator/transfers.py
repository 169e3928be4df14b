"""Random transfers. The n-th transfer of a seed always has the same accounts and amount."""

from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money

SCALE = 2
MAX_ACCOUNTS = 1_000_000
_MASK = 2**64 - 1
_FIRST_WEIGHT = 2**40  # weight of account 1; the sum of a million such weights is below 2**64
_CENTS = (
    0,
    0,
    0,
    0,
    50,
    90,
    95,
    99,
)  # cents of half of all amounts, as in prices; the other half has random cents
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class TransferPair(NamedTuple):
    """The two records of a transfer: a debit of an account and a credit of another account."""

    debit: Transfer
    credit: Transfer


class AccountPicker:
    """Picks two of the accounts 1 to `count` (2 to a million).

    Account k is picked with a probability proportional to 1 / k**skew. With skew 0 all are equally likely.
    """

    def __init__(self, count: int, skew: float = 0.0) -> None:
        self._count = count
        weights = (int(_FIRST_WEIGHT * k**-skew) or 1 for k in range(1, count + 1)) if skew else ()
        self._sums = array("Q", accumulate(weights))  # the k-th is the sum of the first k weights

    def pick_two(self, draw: int) -> tuple[int, int]:
        """Returns the numbers of two different accounts. `draw` is 64 random bits."""
        if not self._sums:
            first = draw % self._count
            return first + 1, (first + 1 + (draw >> 20) % (self._count - 1)) % self._count + 1
        first = bisect_right(self._sums, draw * self._sums[-1] >> 64)
        return first + 1, self._pick_second(first, splitmix64(draw + 1)) + 1

    def _pick_second(self, first: int, draw: int) -> int:
        """Picks from all weights except the weight of `first`."""
        before = self._sums[first - 1] if first else 0
        weight = self._sums[first] - before
        point = draw * (self._sums[-1] - weight) >> 64
        return bisect_right(self._sums, point if point < before else point + weight)


def account_id(number: int) -> AccountId:
    """Returns the id of an account by its number, from 1."""
    return AccountId(f"acc-{number:04}")


def run_name(time_ns: int) -> str:
    """Returns the name of a run: its start in µs, in base 36.

    It makes transfer ids unique, even if two runs have the same seed.
    """
    value, name = time_ns // 1000, ""
    while value:
        value, digit = divmod(value, len(_DIGITS))
        name = _DIGITS[digit] + name
    return name


def transfer_pair(seed: int, n: int, picker: AccountPicker, run: str, time_ms: int) -> TransferPair:
    """Returns the `n`-th transfer of `seed`. The ids of its records are `<run>-<n>-d` and `<run>-<n>-c`."""
    draw = splitmix64(splitmix64(seed & _MASK) + n)
    debited, credited = picker.pick_two(draw)
    amount = _amount(splitmix64(draw))
    return TransferPair(
        Transfer(TransferId(f"{run}-{n}-d"), account_id(debited), Money(-amount, SCALE), time_ms),
        Transfer(TransferId(f"{run}-{n}-c"), account_id(credited), Money(amount, SCALE), time_ms),
    )


def _amount(draw: int) -> int:
    """Returns 1.00 to 2,048.00 in cents. Each power of 2 is equally likely, so small amounts are frequent."""
    exponent = draw % 11
    whole = (1 << exponent) + (draw >> 8) % (1 << exponent)
    cents = (draw >> 24) % 100 if draw >> 40 & 1 else _CENTS[(draw >> 32) % len(_CENTS)]
    return whole * 100 + cents


def splitmix64(value: int) -> int:
    """Returns 64 pseudorandom bits: the step and the finalizer of SplitMix64."""
    bits = (value + 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ bits >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ bits >> 27) * 0x94D049BB133111EB) & _MASK
    return bits ^ bits >> 31
