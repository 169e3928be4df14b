"""Random transfers: the n-th of a seed is always the same two accounts and the same amount."""

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
_WHOLE = 2**40  # the share of the first account; the sum of a million of them stays below 2**64
_CENTS = (0, 0, 0, 0, 50, 90, 95, 99)  # what prices end in; the rest of them in anything
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Pair(NamedTuple):
    """One transfer as its two records: an account debited, another credited."""

    debit: Transfer
    credit: Transfer


class AccountPicker:
    """Accounts 1 to `count` (2 to a million), the k-th chosen as often as 1 / k**skew says; 0: all alike."""

    def __init__(self, count: int, skew: float = 0.0) -> None:
        self._count = count
        shares = (int(_WHOLE * k**-skew) or 1 for k in range(1, count + 1)) if skew else ()
        self._shares = array("Q", accumulate(shares))

    def two(self, draw: int) -> tuple[int, int]:
        """The numbers of two different accounts, of 64 random bits."""
        if not self._shares:
            first = draw % self._count
            return first + 1, (first + 1 + (draw >> 20) % (self._count - 1)) % self._count + 1
        first = bisect_right(self._shares, draw * self._shares[-1] >> 64)
        return first + 1, self._other(first, mixed(draw + 1)) + 1

    def _other(self, first: int, draw: int) -> int:
        """By the shares that are left without the first one's."""
        before = self._shares[first - 1] if first else 0
        own = self._shares[first] - before
        at = draw * (self._shares[-1] - own) >> 64
        return bisect_right(self._shares, at if at < before else at + own)


def account(number: int) -> AccountId:
    """The `number`-th account, from 1."""
    return AccountId(f"acc-{number:04}")


def run_name(time_ns: int) -> str:
    """What makes the ids of a run its own, also with the seed of an earlier one: its start, in µs."""
    value, name = time_ns // 1000, ""
    while value:
        value, digit = divmod(value, len(_DIGITS))
        name = _DIGITS[digit] + name
    return name


def pair(seed: int, n: int, crowd: AccountPicker, run: str, time_ms: int) -> Pair:
    """The `n`-th transfer of `seed` in a crowd.

    `run` makes its ids, `<run>-<n>-d` and `<run>-<n>-c`, different from those of every other run.
    """
    draw = mixed(mixed(seed & _MASK) + n)
    debited, credited = crowd.two(draw)
    amount = _amount(mixed(draw))
    return Pair(
        Transfer(TransferId(f"{run}-{n}-d"), account(debited), Money(-amount, SCALE), time_ms),
        Transfer(TransferId(f"{run}-{n}-c"), account(credited), Money(amount, SCALE), time_ms),
    )


def _amount(draw: int) -> int:
    """Cents of 1.00 to 2,048.00: each doubling as likely as the next, as money goes."""
    doubling = draw % 11
    whole = (1 << doubling) + (draw >> 8) % (1 << doubling)
    cents = (draw >> 24) % 100 if draw >> 40 & 1 else _CENTS[(draw >> 32) % len(_CENTS)]
    return whole * 100 + cents


def mixed(value: int) -> int:
    """64 bits that look random (the finalizer of splitmix64)."""
    mixed = (value + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
    return mixed ^ mixed >> 31
