import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.delta import (
    DeltaParts,
    ProgressMessage,
    decode_delta,
    decode_progress,
    encode_delta,
    encode_delta_frame,
    encode_progress,
    make_delta,
    merge,
    split_delta_frame,
)
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import DeltaFrame, decode_server_frame, encode_frame
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision
from livebalance.wire.timestamp import Millis
from tests.unit.wire import samples

ACCOUNT = AccountId("acc-0001")
LANE = Lane(3)
HEADER_ONLY = DeltaParts(Epoch("9f86d081884c7d65"), Revision(1), Revision(2), Millis(0), b"", b"")


@given(samples.parts())
def test_delta_and_its_parts_round_trip(parts: DeltaParts) -> None:
    for gone in (False, True):
        delta = make_delta(ACCOUNT, LANE, parts, gone=gone)
        assert decode_delta(ACCOUNT, encode_delta(delta)) == delta
        assert split_delta_frame(delta.text) == parts


@given(samples.progresses)
def test_progress_round_trips(progress: ProgressMessage) -> None:
    assert decode_progress(encode_progress(progress)) == progress


@given(samples.parts())
def test_encoded_delta_frame_equals_the_frame_of_the_codec(parts: DeltaParts) -> None:
    text = encode_delta_frame(ACCOUNT, parts)
    frame = decode_server_frame(text)
    assert isinstance(frame, DeltaFrame)
    assert encode_frame(frame) == text


def test_page_with_more_has_no_balance() -> None:
    text = encode_delta_frame(ACCOUNT, HEADER_ONLY, more=True)
    frame = decode_server_frame(text)
    assert isinstance(frame, DeltaFrame)
    assert frame.more
    assert encode_frame(frame) == text


def test_delta_without_a_balance_is_header_only() -> None:
    for balance in (b"", b"null"):
        message = encode_delta(make_delta(ACCOUNT, LANE, HEADER_ONLY._replace(balance=balance)))
        assert decode_delta(ACCOUNT, message).header_only is (not balance)


@given(samples.parts(), samples.parts(), samples.parts())
def test_merge_is_associative(a: DeltaParts, b: DeltaParts, c: DeltaParts) -> None:
    a = a._replace(from_=Revision(1), to=Revision(5))
    b = b._replace(epoch=a.epoch, from_=a.to, to=Revision(6))
    c = c._replace(epoch=a.epoch, from_=b.to, to=Revision(9))
    first, second, third = (encode_delta_frame(ACCOUNT, parts) for parts in (a, b, c))
    merged = merge(ACCOUNT, [first, second, third])
    assert merge(ACCOUNT, [merge(ACCOUNT, [first, second]), third]) == merged
    assert merge(ACCOUNT, [first, merge(ACCOUNT, [second, third])]) == merged
    parts = split_delta_frame(merged)
    assert (parts.from_, parts.to, parts.balance) == (a.from_, c.to, c.balance)


@given(
    st.binary(max_size=80)
    | samples.corrupted(samples.parts().map(lambda parts: encode_delta(make_delta(ACCOUNT, LANE, parts))))
)
def test_random_bytes_decode_as_delta_or_raise_decode_error(message: bytes) -> None:
    try:
        delta = decode_delta(ACCOUNT, message)
    except DecodeError:
        return
    assert decode_delta(ACCOUNT, encode_delta(delta)) == delta
    fields = json.loads(delta.text)
    assert (fields["type"], fields["channel"], fields["epoch"]) == ("delta", "account:acc-0001", delta.epoch)
    assert (fields["from"], fields["to"]) == (delta.from_, delta.to)


@given(samples.accounts)
def test_delta_on_the_channel_of_another_account_is_rejected(account: AccountId) -> None:
    with pytest.raises(DecodeError, match="another account"):
        decode_delta(account, encode_delta(make_delta(ACCOUNT, LANE, HEADER_ONLY)))


@given(st.binary(max_size=80) | samples.corrupted(samples.progresses.map(encode_progress)))
def test_random_bytes_decode_as_progress_or_raise_decode_error(message: bytes) -> None:
    try:
        progress = decode_progress(message)
    except DecodeError:
        return
    assert decode_progress(encode_progress(progress)) == progress


MESSAGE = encode_delta(make_delta(ACCOUNT, LANE, HEADER_ONLY))
FORMAT_REASON, TEXT_REASON = (
    "not a delta message of this format",
    "the text of a delta message is not a delta frame",
)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (MESSAGE[:3], FORMAT_REASON),
        (b"\x01" + MESSAGE[1:], FORMAT_REASON),
        (MESSAGE[:4], TEXT_REASON),
        (MESSAGE[:-1], TEXT_REASON),
        (
            MESSAGE.replace(b"acc-0001", b"acc-0002"),
            "the delta is for another account than its Redis channel",
        ),
        (MESSAGE.replace(b'"to":2', b'"to":1'), "the revisions of a delta do not increase"),
    ],
)
def test_invalid_delta_has_a_reason(message: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=f"^{reason}$"):
        decode_delta(ACCOUNT, message)


def test_delta_is_not_of_an_erasure_unless_it_says_so() -> None:
    assert not make_delta(ACCOUNT, LANE, HEADER_ONLY).gone


def test_deltas_with_a_gap_are_not_merged() -> None:
    texts = [
        encode_delta_frame(ACCOUNT, HEADER_ONLY._replace(from_=Revision(from_), to=Revision(from_ + 1)))
        for from_ in (1, 3)
    ]
    with pytest.raises(ValueError, match=r"^deltas with a gap between them cannot be merged$"):
        merge(ACCOUNT, texts)


def test_invalid_progress_has_a_reason() -> None:
    message = encode_progress(ProgressMessage(LANE, HEADER_ONLY.epoch, Millis(0), behind=False))
    for damaged in (message[:-1], b"\x01" + message[1:]):
        with pytest.raises(DecodeError, match=r"^not a progress message of this format$"):
            decode_progress(damaged)
    with pytest.raises(DecodeError, match=r"^the time of a progress message is not within 1970-9999$"):
        decode_progress(message[:-8] + b"\xff" * 8)
