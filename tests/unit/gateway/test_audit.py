from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.postgres.audit import slices
from livebalance.wire.identity import AccountId


@given(st.integers(0, 3000), st.integers(1, 1000))
def test_slices_hold_every_account_once_and_never_too_many(count: int, size: int) -> None:
    accounts = [AccountId(str(number)) for number in range(count)]
    parts = slices(accounts, size)
    assert [one for part in parts for one in part] == accounts
    assert all(len(part) <= size for part in parts)
    assert parts  # the lanes are asked for even when nobody follows anything
