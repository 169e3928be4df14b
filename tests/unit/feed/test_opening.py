from hypothesis import given
from hypothesis import strategies as st

from livebalance.feed.initial_balance import opening
from livebalance.wire.kafka.record import admissible


@given(st.integers(1, 100_000))
def test_an_account_is_opened_with_money_and_a_client(number: int) -> None:
    balance = opening(number)
    assert admissible(balance, balance.account.encode()) is None
    assert (balance.version, balance.transfer_id) == (0, "")
    assert 1_000_00 <= balance.amount.unscaled < 10_000_00
    assert balance.client_id.startswith("client-")
