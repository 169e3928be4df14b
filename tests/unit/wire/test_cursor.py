import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.cursor import decode_cursor, encode_cursor
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId

ids = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)


@given(ids, ids)
def test_cursor_round_trips(account: str, transfer: str) -> None:
    cursor = encode_cursor(AccountId(account), TransferId(transfer))
    assert decode_cursor(cursor, AccountId(account)) == transfer
    assert len(cursor) <= 256


@pytest.mark.parametrize(("transfer", "cursor"), [("t-1", "MS9hbGljZS90LTE"), ("t-1W", "MS9hbGljZS90LTFX")])
def test_cursor_is_that_of_every_release(transfer: str, cursor: str) -> None:
    """A client may keep a cursor during an upgrade."""
    assert encode_cursor(AccountId("alice"), TransferId(transfer)) == cursor
    assert decode_cursor(cursor, AccountId("alice")) == transfer


@pytest.mark.parametrize(
    ("cursor", "message"), [("ä", "invalid base64url"), ("MS9ib2IvdC0x", "invalid cursor for this account")]
)
def test_error_says_what_is_wrong_with_a_cursor(cursor: str, message: str) -> None:
    with pytest.raises(DecodeError, match=f"^{message}$"):
        decode_cursor(cursor, AccountId("alice"))


@given(ids, st.text(max_size=300))
def test_random_text_is_rejected(account: str, text: str) -> None:
    with pytest.raises(DecodeError):
        decode_cursor(text, AccountId(account))


@given(ids, ids, ids, st.data())
def test_changed_cursor_or_cursor_of_another_account_is_rejected(
    account: str, other: str, transfer: str, data: st.DataObject
) -> None:
    cursor = encode_cursor(AccountId(account), TransferId(transfer))
    if other != account:
        with pytest.raises(DecodeError):
            decode_cursor(cursor, AccountId(other))
    index = data.draw(st.integers(0, len(cursor) - 1))
    changed = cursor[:index] + ("A" if cursor[index] != "A" else "B") + cursor[index + 1 :]
    try:
        decoded = decode_cursor(changed, AccountId(account))
    except DecodeError:
        return
    assert encode_cursor(AccountId(account), decoded) == changed != cursor
