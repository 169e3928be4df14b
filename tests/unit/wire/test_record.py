from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.record import Record, rejection_reason
from tests.unit.wire import samples

records = samples.transfers | samples.balances


@given(records)
def test_valid_record_is_admissible(record: Record) -> None:
    client_has_zero = "\x00" in getattr(record, "client_id", "")
    assert (rejection_reason(record, record.account.encode()) is None) is not client_has_zero


@given(records, st.none() | st.binary(max_size=8))
def test_record_with_another_key_is_rejected(record: Record, key: bytes | None) -> None:
    if key != record.account.encode():
        assert rejection_reason(record, key) == "key is not the account id"


@given(records, st.text(max_size=70))
def test_record_with_a_random_account_id_gets_a_verdict(record: Record, account: str) -> None:
    changed = record._replace(account=AccountId(account))
    assert (
        rejection_reason(changed, account.encode(errors="replace")) is None
        or rejection_reason(changed, b"") is not None
    )
