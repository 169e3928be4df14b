from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.postgres.audit import slices
from livebalance.wire.identity import AccountId


@given(st.integers(0, 3000), st.integers(1, 1000))
def test_slices_contain_every_account_once_and_have_a_maximum_size(count: int, size: int) -> None:
    accounts = [AccountId(str(number)) for number in range(count)]
    parts = slices(accounts, size)
    assert [account for part in parts for account in part] == accounts
    assert all(len(part) <= size for part in parts)
    assert parts  # without any account, one statement still reads the lanes
