from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.delta import (
    MAX_TRANSFERS,
    Delta,
    Progress,
    account_of,
    decode_delta,
    decode_progress,
    encode_delta,
    encode_progress,
    merge,
    redis_account,
)
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import DeltaFrame, decode_server, delta_frame, encode
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision
from livebalance.wire.instant import Millis
from tests.unit.wire import samples

ACCOUNT = AccountId("acc-0001")


@given(samples.deltas())
def test_a_delta_comes_back(delta: Delta) -> None:
    assert decode_delta(encode_delta(delta)) == delta


@given(samples.progresses)
def test_progress_comes_back(progress: Progress) -> None:
    assert decode_progress(encode_progress(progress)) == progress


@given(samples.deltas())
def test_the_frame_of_a_delta_is_the_frame_a_codec_would_write(delta: Delta) -> None:
    text = delta_frame(ACCOUNT, delta)
    frame = decode_server(text)
    assert isinstance(frame, DeltaFrame)
    assert encode(frame) == text


def test_a_page_with_more_to_come_carries_no_balance() -> None:
    delta = Delta(*_HEAD, balance=b"", transfers=b"")
    frame = decode_server(delta_frame(ACCOUNT, delta, more=True))
    assert isinstance(frame, DeltaFrame)
    assert frame.more
    assert encode(frame) == delta_frame(ACCOUNT, delta, more=True)


def test_too_many_transfers_leave_the_header_alone() -> None:
    whole = Delta(*_HEAD, balance=b"null", transfers=b'{"x":"%b"}' % (b"x" * (MAX_TRANSFERS - 8)))
    assert decode_delta(encode_delta(whole)) == whole
    over = whole._replace(transfers=whole.transfers + b" ")
    alone = decode_delta(encode_delta(over))
    assert alone.header_alone
    assert alone == over._replace(balance=b"", transfers=b"")


@given(samples.deltas(), samples.deltas(), samples.deltas())
def test_merging_does_not_depend_on_the_order(a: Delta, b: Delta, c: Delta) -> None:
    a = a._replace(from_=Revision(1), to=Revision(5))
    b = b._replace(epoch=a.epoch, from_=a.to, to=Revision(6))
    c = c._replace(epoch=a.epoch, from_=b.to, to=Revision(9))
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    assert left == right
    assert (left.from_, left.to, left.balance) == (a.from_, c.to, c.balance)


@given(
    st.binary(max_size=80)
    | samples.spoiled(samples.deltas().map(encode_delta))
    | samples.spoiled(samples.progresses.map(encode_progress))
)
def test_any_bytes_decode_or_raise_decode_error(message: bytes) -> None:
    for decode, reencode in ((decode_delta, encode_delta), (decode_progress, encode_progress)):
        try:
            found = decode(message)
        except DecodeError:
            continue
        again = decode(reencode(found))  # type: ignore[arg-type]  # each with its own
        assert again == found or len(message) > MAX_TRANSFERS
        if isinstance(found, Delta):
            delta_frame(ACCOUNT, found)


@given(samples.accounts)
def test_a_channel_names_its_account(account: AccountId) -> None:
    assert account_of("live:", redis_account("live:", account)) == account
    assert account_of("other:", redis_account("live:", account)) is None


_HEAD = (
    Lane(3),
    Epoch("9f86d081884c7d65"),
    Revision(1),
    Revision(2),
    Millis(0),
)
