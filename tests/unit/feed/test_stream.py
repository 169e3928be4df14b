from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from livebalance.feed.feed import run_name
from livebalance.feed.stream import account, opening, pair
from livebalance.wire.identity import is_id
from livebalance.wire.money import Money
from livebalance.wire.record import admissible

seeds = st.integers(-(2**70), 2**70)
numbers = st.integers(0, 2**40)
counts = st.integers(2, 500)


@given(seeds, numbers, counts)
def test_a_pair_moves_one_amount_between_two_accounts(seed: int, n: int, accounts: int) -> None:
    debit, credit = pair(seed, n, accounts, "run", 0)
    assert debit.account != credit.account
    assert {debit.account, credit.account} <= {account(number) for number in range(1, accounts + 1)}
    assert debit.amount == Money(-credit.amount.unscaled, 2)
    assert 1_00 <= credit.amount.unscaled < 2_048_00
    assert (debit.id, credit.id) == (f"run-{n}-d", f"run-{n}-c")
    for record in (debit, credit):
        assert admissible(record, record.account.encode()) is None


@given(seeds, numbers, counts)
def test_a_seed_says_everything_but_ids_and_time(seed: int, n: int, accounts: int) -> None:
    one, other = pair(seed, n, accounts, "one", 1), pair(seed, n, accounts, "other", 2)
    for a, b in zip(one, other, strict=True):
        assert (a.account, a.amount) == (b.account, b.amount)
        assert a.id != b.id


def test_every_account_pays_and_is_paid_and_amounts_differ() -> None:
    pairs = [pair(1, n, 8, "run", 0) for n in range(4000)]
    for records in zip(*pairs, strict=True):
        shares = Counter(record.account for record in records)
        assert len(shares) == 8
        assert min(shares.values()) > 350
    assert len({credit.amount for _, credit in pairs}) > 1000


def test_another_seed_is_another_stream() -> None:
    first, second = ([pair(seed, n, 8, "run", 0).credit for n in range(50)] for seed in (1, 2))
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 5


@given(st.integers(1, 100_000))
def test_an_account_is_opened_with_money_and_a_client(number: int) -> None:
    balance = opening(number)
    assert admissible(balance, balance.account.encode()) is None
    assert (balance.version, balance.transfer_id) == (0, "")
    assert 1_000_00 <= balance.amount.unscaled < 10_000_00
    assert balance.client_id.startswith("client-")


@given(st.integers(1_700_000_000 * 10**9, 4_000_000_000 * 10**9))
def test_a_run_is_named_by_its_microsecond(time_ns: int) -> None:
    name = run_name(time_ns)
    assert int(name, 36) == time_ns // 1000
    assert is_id(f"{name}-{10**12}-d")
