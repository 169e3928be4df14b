"""The transfers of a seed: the n-th is always the same two accounts and the same amount."""

from typing import NamedTuple

from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.money import Money
from livebalance.wire.record import Balance, Transfer

SCALE = 2
_MASK = 2**64 - 1
_CENTS = (0, 0, 0, 0, 50, 90, 95, 99)  # what prices end in; the rest of them in anything


class Pair(NamedTuple):
    """One transfer as its two records: an account debited, another credited."""

    debit: Transfer
    credit: Transfer


def account(number: int) -> AccountId:
    """The `number`-th account, from 1."""
    return AccountId(f"acc-{number:04}")


def opening(number: int) -> Balance:
    """The record that opens the `number`-th account. A client has up to three accounts."""
    amount = 1_000_00 + _mixed(number) % 9_000 * 100
    client = f"client-{(number + 2) // 3:03}"
    return Balance(account(number), client, TransferId(""), Money(amount, SCALE), 0)


def pair(seed: int, n: int, accounts: int, run: str, time_ms: int) -> Pair:
    """The `n`-th transfer of `seed` among `accounts` (at least 2) accounts.

    `run` makes its ids, `<run>-<n>-d` and `<run>-<n>-c`, different from those of every other run.
    """
    draw = _mixed(_mixed(seed & _MASK) + n)
    debited = draw % accounts
    credited = (debited + 1 + (draw >> 20) % (accounts - 1)) % accounts
    amount = _amount(_mixed(draw))
    return Pair(
        Transfer(TransferId(f"{run}-{n}-d"), account(debited + 1), Money(-amount, SCALE), time_ms),
        Transfer(TransferId(f"{run}-{n}-c"), account(credited + 1), Money(amount, SCALE), time_ms),
    )


def _amount(draw: int) -> int:
    """Cents of 1.00 to 2,048.00: each doubling as likely as the next, as money goes."""
    doubling = draw % 11
    whole = (1 << doubling) + (draw >> 8) % (1 << doubling)
    cents = (draw >> 24) % 100 if draw >> 40 & 1 else _CENTS[(draw >> 32) % len(_CENTS)]
    return whole * 100 + cents


def _mixed(value: int) -> int:
    """64 bits that look random (the finalizer of splitmix64)."""
    mixed = (value + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
    return mixed ^ mixed >> 31
