from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.generator.transfers import MAX_ACCOUNTS, AccountPicker, account, pair, run_name
from livebalance.wire.identity import is_id
from livebalance.wire.kafka.record import admissible
from livebalance.wire.money import Money

seeds = st.integers(-(2**70), 2**70)
numbers = st.integers(0, 2**40)
counts = st.integers(2, 500)


@given(seeds, numbers, counts)
def test_a_pair_moves_one_amount_between_two_accounts(seed: int, n: int, accounts: int) -> None:
    debit, credit = pair(seed, n, AccountPicker(accounts), "run", 0)
    assert debit.account != credit.account
    assert {debit.account, credit.account} <= {account(number) for number in range(1, accounts + 1)}
    assert debit.amount == Money(-credit.amount.unscaled, 2)
    assert 1_00 <= credit.amount.unscaled < 2_048_00
    assert (debit.id, credit.id) == (f"run-{n}-d", f"run-{n}-c")
    for record in (debit, credit):
        assert admissible(record, record.account.encode()) is None


@given(seeds, numbers, counts)
def test_a_seed_says_everything_but_ids_and_time(seed: int, n: int, accounts: int) -> None:
    crowd = AccountPicker(accounts)
    one, other = pair(seed, n, crowd, "one", 1), pair(seed, n, crowd, "other", 2)
    for a, b in zip(one, other, strict=True):
        assert (a.account, a.amount) == (b.account, b.amount)
        assert a.id != b.id


def test_every_account_pays_and_is_paid_and_amounts_differ() -> None:
    pairs = [pair(1, n, AccountPicker(8), "run", 0) for n in range(4000)]
    for records in zip(*pairs, strict=True):
        shares = Counter(record.account for record in records)
        assert len(shares) == 8
        assert min(shares.values()) > 350
    assert len({credit.amount for _, credit in pairs}) > 1000


def test_another_seed_is_another_stream() -> None:
    first, second = ([pair(seed, n, AccountPicker(8), "run", 0).credit for n in range(50)] for seed in (1, 2))
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 5


@given(st.integers(1_700_000_000 * 10**9, 4_000_000_000 * 10**9))
def test_a_run_is_named_by_its_microsecond(time_ns: int) -> None:
    name = run_name(time_ns)
    assert int(name, 36) == time_ns // 1000
    assert is_id(f"{name}-{10**12}-d")


@given(counts, st.floats(0, 10), st.integers(0, 2**64 - 1))
def test_two_of_a_crowd_are_two(count: int, skew: float, draw: int) -> None:
    first, second = AccountPicker(count, skew).two(draw)
    assert first != second
    assert {first, second} <= set(range(1, count + 1))


@pytest.mark.parametrize("skew", [0.0, 0.8, 2.0])
def test_who_is_chosen_follows_the_skew(skew: float) -> None:
    crowd, draws = AccountPicker(20, skew), 20_000
    chosen = Counter(pair(3, n, crowd, "run", 0).debit.account for n in range(draws))
    whole = sum(k**-skew for k in range(1, 21))
    for k in range(1, 21):
        share = k**-skew / whole
        assert chosen[account(k)] == pytest.approx(share * draws, abs=5 * (share * draws) ** 0.5 + 1)


def test_the_other_one_follows_the_skew_too() -> None:
    """Of three with shares 1, 1/2 and 1/3: beside the first one stands the second in three of five."""
    crowd = AccountPicker(3, 1.0)
    both = Counter(
        (debit.account, credit.account)
        for debit, credit in (pair(5, n, crowd, "run", 0) for n in range(20_000))
    )
    beside = [both[account(1), account(k)] for k in (2, 3)]
    assert beside[0] / sum(beside) == pytest.approx(0.6, abs=0.02)


def test_the_largest_crowd_fits() -> None:
    crowd = AccountPicker(MAX_ACCOUNTS, 1e-9)
    assert crowd.two(2**64 - 1)[0] == MAX_ACCOUNTS
    assert crowd.two(0)[0] == 1
