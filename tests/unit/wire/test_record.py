from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.record import Record, admissible
from tests.unit.wire import samples

records = samples.transfers | samples.balances


@given(records)
def test_good_records_are_admissible(record: Record) -> None:
    client_has_zero = "\x00" in getattr(record, "client_id", "")
    assert (admissible(record, record.account.encode()) is None) is not client_has_zero


@given(records, st.none() | st.binary(max_size=8))
def test_only_the_account_itself_is_the_key(record: Record, key: bytes | None) -> None:
    if key != record.account.encode():
        assert admissible(record, key) == "key is not the account id"


@given(records, st.text(max_size=70))
def test_any_account_id_gets_an_answer(record: Record, account: str) -> None:
    strange = record._replace(account=AccountId(account))
    assert (
        admissible(strange, account.encode(errors="replace")) is None or admissible(strange, b"") is not None
    )
