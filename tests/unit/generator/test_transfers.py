from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.generator.transfers import MAX_ACCOUNTS, AccountPicker, account_id, run_name, transfer_pair
from livebalance.wire.identity import is_id
from livebalance.wire.kafka.record import rejection_reason
from livebalance.wire.money import Money

seeds = st.integers(-(2**70), 2**70)
numbers = st.integers(0, 2**40)
account_counts = st.integers(2, 500)


@given(seeds, numbers, account_counts)
def test_transfer_pair_moves_an_amount_between_two_accounts(seed: int, n: int, accounts: int) -> None:
    debit, credit = transfer_pair(seed, n, AccountPicker(accounts), "run", 0)
    assert debit.account != credit.account
    assert {debit.account, credit.account} <= {account_id(number) for number in range(1, accounts + 1)}
    assert debit.amount == Money(-credit.amount.unscaled, 2)
    assert 1_00 <= credit.amount.unscaled < 2_048_00
    assert (debit.id, credit.id) == (f"run-{n}-d", f"run-{n}-c")
    for record in (debit, credit):
        assert rejection_reason(record, record.account.encode()) is None


@given(seeds, numbers, account_counts)
def test_same_seed_in_two_runs_gives_the_same_transfers_with_other_ids(
    seed: int, n: int, accounts: int
) -> None:
    picker = AccountPicker(accounts)
    first = transfer_pair(seed, n, picker, "one", 1)
    second = transfer_pair(seed, n, picker, "other", 2)
    for a, b in zip(first, second, strict=True):
        assert (a.account, a.amount) == (b.account, b.amount)
        assert a.id != b.id


def test_transfers_use_every_account_on_both_sides_and_many_amounts() -> None:
    pairs = [transfer_pair(1, n, AccountPicker(8), "run", 0) for n in range(4000)]
    for records in zip(*pairs, strict=True):
        shares = Counter(record.account for record in records)
        assert len(shares) == 8
        assert min(shares.values()) > 350
    assert len({credit.amount for _, credit in pairs}) > 1000


def test_other_seed_gives_other_transfers() -> None:
    first, second = (
        [transfer_pair(seed, n, AccountPicker(8), "run", 0).credit for n in range(50)] for seed in (1, 2)
    )
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 5


@given(st.integers(1_700_000_000 * 10**9, 4_000_000_000 * 10**9))
def test_run_name_is_its_start_in_microseconds(time_ns: int) -> None:
    name = run_name(time_ns)
    assert int(name, 36) == time_ns // 1000
    assert is_id(f"{name}-{10**12}-d")


@given(account_counts, st.floats(0, 10), st.integers(0, 2**64 - 1))
def test_picker_returns_two_different_accounts(count: int, skew: float, draw: int) -> None:
    first, second = AccountPicker(count, skew).pick_two(draw)
    assert first != second
    assert {first, second} <= set(range(1, count + 1))


@pytest.mark.parametrize("skew", [0.0, 0.8, 2.0])
def test_first_account_follows_the_skew(skew: float) -> None:
    picker, draws = AccountPicker(20, skew), 20_000
    debited = Counter(transfer_pair(3, n, picker, "run", 0).debit.account for n in range(draws))
    whole = sum(k**-skew for k in range(1, 21))
    for k in range(1, 21):
        share = k**-skew / whole
        assert debited[account_id(k)] == pytest.approx(share * draws, abs=5 * (share * draws) ** 0.5 + 1)


def test_second_account_follows_the_skew() -> None:
    """With weights 1, 1/2 and 1/3, account 2 is picked beside account 1 in three of five transfers."""
    picker = AccountPicker(3, 1.0)
    counts = Counter(
        (debit.account, credit.account)
        for debit, credit in (transfer_pair(5, n, picker, "run", 0) for n in range(20_000))
    )
    beside = [counts[account_id(1), account_id(k)] for k in (2, 3)]
    assert beside[0] / sum(beside) == pytest.approx(0.6, abs=0.02)


def test_picker_with_the_most_accounts_does_not_overflow() -> None:
    picker = AccountPicker(MAX_ACCOUNTS, 1e-9)
    assert picker.pick_two(2**64 - 1)[0] == MAX_ACCOUNTS
    assert picker.pick_two(0)[0] == 1
