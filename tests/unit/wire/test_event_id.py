import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.server.request_head import MAX_LINE_BYTES
from livebalance.wire.cursor import encode_cursor, encode_opaque
from livebalance.wire.errors import DecodeError
from livebalance.wire.event_id import MAX_ACCOUNTS, MAX_LENGTH, decode_event_id, encode_event_id
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Position, Revision, TransferId
from tests.unit.wire.samples import accounts, epochs, revisions

some = st.dictionaries(accounts, st.builds(Position, epochs, revisions), max_size=MAX_ACCOUNTS)


@given(some)
def test_it_says_where_a_reader_is(at: dict[AccountId, Position]) -> None:
    assert decode_event_id(encode_event_id(at)) == at
    assert encode_event_id(dict(reversed(at.items()))) == encode_event_id(at)


def test_the_longest_fits_a_header() -> None:
    at = Position(Epoch("f" * 16), Revision(MAX_REVISION))
    longest = encode_event_id({AccountId(f"{number:064}"): at for number in range(MAX_ACCOUNTS)})
    assert len(longest) < min(MAX_LENGTH, MAX_LINE_BYTES - len("Last-Event-ID: \r\n"))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_event_id(text)


@given(some, st.data())
def test_a_changed_one_is_refused(at: dict[AccountId, Position], data: st.DataObject) -> None:
    mark = encode_event_id(at)
    place = data.draw(st.integers(0, len(mark) - 1))
    changed = mark[:place] + ("A" if mark[place] != "A" else "B") + mark[place + 1 :]
    try:
        read = decode_event_id(changed)
    except DecodeError:
        return
    assert encode_event_id(read) == changed != mark


EPOCH = "00000000000000a1"


@pytest.mark.parametrize(
    "told",
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
def test_one_that_is_sealed_and_says_something_else_is_refused(told: str) -> None:
    with pytest.raises(DecodeError):
        decode_event_id(encode_opaque(told))


def test_a_cursor_of_a_list_is_none() -> None:
    with pytest.raises(DecodeError):
        decode_event_id(encode_cursor(AccountId("alice"), TransferId("t-1")))
