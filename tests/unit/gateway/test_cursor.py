import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.cursor import older_than, transfer_of
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId

ids = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)


@given(ids, ids)
def test_a_cursor_names_its_transfer(account: str, transfer: str) -> None:
    cursor = older_than(AccountId(account), TransferId(transfer))
    assert transfer_of(cursor, AccountId(account)) == transfer
    assert len(cursor) <= 256


@given(ids, st.text(max_size=300))
def test_any_other_text_is_refused(account: str, text: str) -> None:
    with pytest.raises(DecodeError):
        transfer_of(text, AccountId(account))


@given(ids, ids, ids, st.data())
def test_a_cursor_of_another_list_or_a_changed_one_is_refused(
    account: str, other: str, transfer: str, data: st.DataObject
) -> None:
    cursor = older_than(AccountId(account), TransferId(transfer))
    if other != account:
        with pytest.raises(DecodeError):
            transfer_of(cursor, AccountId(other))
    place = data.draw(st.integers(0, len(cursor) - 1))
    changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
    with pytest.raises(DecodeError):
        transfer_of(changed, AccountId(account))
