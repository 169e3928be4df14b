from hypothesis import given
from hypothesis import strategies as st

from livebalance.feed.initial_balance import initial_balance
from livebalance.wire.kafka.record import rejection_reason


@given(st.integers(1, 100_000))
def test_initial_balance_is_admissible_and_has_a_client(number: int) -> None:
    balance = initial_balance(number)
    assert rejection_reason(balance, balance.account.encode()) is None
    assert (balance.version, balance.transfer_id) == (0, "")
    assert 1_000_00 <= balance.amount.unscaled < 10_000_00
    assert balance.client_id.startswith("client-")
