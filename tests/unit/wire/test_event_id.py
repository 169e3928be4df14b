import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.server.request_head import MAX_LINE_BYTES
from livebalance.wire.cursor import encode_cursor, encode_opaque
from livebalance.wire.errors import DecodeError
from livebalance.wire.event_id import MAX_ACCOUNTS, MAX_LENGTH, decode_event_id, encode_event_id
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Position, Revision, TransferId
from tests.unit.wire.samples import accounts, epochs, revisions

positions = st.dictionaries(accounts, st.builds(Position, epochs, revisions), max_size=MAX_ACCOUNTS)


@given(positions)
def test_event_id_round_trips_in_any_order(positions: dict[AccountId, Position]) -> None:
    assert decode_event_id(encode_event_id(positions)) == positions
    assert encode_event_id(dict(reversed(positions.items()))) == encode_event_id(positions)


def test_longest_event_id_fits_into_a_header() -> None:
    position = Position(Epoch("f" * 16), Revision(MAX_REVISION))
    longest = encode_event_id({AccountId(f"{number:064}"): position for number in range(MAX_ACCOUNTS)})
    assert len(longest) < min(MAX_LENGTH, MAX_LINE_BYTES - len("Last-Event-ID: \r\n"))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_random_text_is_rejected(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_event_id(text)


@given(positions, st.data())
def test_changed_event_id_is_rejected(positions: dict[AccountId, Position], data: st.DataObject) -> None:
    event_id = encode_event_id(positions)
    index = data.draw(st.integers(0, len(event_id) - 1))
    changed = event_id[:index] + ("A" if event_id[index] != "A" else "B") + event_id[index + 1 :]
    try:
        decoded = decode_event_id(changed)
    except DecodeError:
        return
    assert encode_event_id(decoded) == changed != event_id


EPOCH = "00000000000000a1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "e2/",
        f"1/alice:{EPOCH}:1",
        f"e1/alice:{EPOCH}",
        f"e1/alice:{EPOCH}:1:1",
        f"e1/alice:{EPOCH}:-1",
        f"e1/alice:{EPOCH}:01",
        f"e1/alice:{EPOCH}:{MAX_REVISION + 1}",
        f"e1/alice:{EPOCH}:{'9' * 1000}",
        f"e1/alice:{EPOCH.upper()}:1",
        f"e1/al ice:{EPOCH}:1",
        f"e1/bob:{EPOCH}:1,alice:{EPOCH}:1",
        f"e1/alice:{EPOCH}:1,alice:{EPOCH}:1",
        f"e1/,alice:{EPOCH}:1",
        "e1/" + ",".join(f"a{number:02}:{EPOCH}:1" for number in range(MAX_ACCOUNTS + 1)),
        "e1/" + "a" * MAX_LENGTH,
    ],
)
def test_encoded_text_of_another_format_is_rejected(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_event_id(encode_opaque(text))


def test_cursor_of_a_list_is_rejected() -> None:
    with pytest.raises(DecodeError):
        decode_event_id(encode_cursor(AccountId("alice"), TransferId("t-1")))
