import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.delta import (
    DeltaParts,
    ProgressMessage,
    account_of,
    decode_delta,
    decode_progress,
    encode_delta,
    encode_progress,
    merge,
    parts_of,
    redis_account,
    text_of,
    written,
)
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import DeltaFrame, decode_server, encode
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision
from livebalance.wire.timestamp import Millis
from tests.unit.wire import samples

ACCOUNT = AccountId("acc-0001")
LANE = Lane(3)
ALONE = DeltaParts(Epoch("9f86d081884c7d65"), Revision(1), Revision(2), Millis(0), b"", b"")


@given(samples.parts())
def test_a_delta_comes_back_and_so_do_its_parts(parts: DeltaParts) -> None:
    for gone in (False, True):
        delta = written(ACCOUNT, LANE, parts, gone=gone)
        assert decode_delta(ACCOUNT, encode_delta(delta)) == delta
        assert parts_of(delta.text) == parts


@given(samples.progresses)
def test_progress_comes_back(progress: ProgressMessage) -> None:
    assert decode_progress(encode_progress(progress)) == progress


@given(samples.parts())
def test_the_text_of_a_delta_is_the_frame_a_codec_would_write(parts: DeltaParts) -> None:
    text = text_of(ACCOUNT, parts)
    frame = decode_server(text)
    assert isinstance(frame, DeltaFrame)
    assert encode(frame) == text


def test_a_page_with_more_to_come_carries_no_balance() -> None:
    text = text_of(ACCOUNT, ALONE, more=True)
    frame = decode_server(text)
    assert isinstance(frame, DeltaFrame)
    assert frame.more
    assert encode(frame) == text


def test_without_a_balance_it_is_a_header_only() -> None:
    for balance in (b"", b"null"):
        message = encode_delta(written(ACCOUNT, LANE, ALONE._replace(balance=balance)))
        assert decode_delta(ACCOUNT, message).header_only is (not balance)


@given(samples.parts(), samples.parts(), samples.parts())
def test_merging_does_not_depend_on_the_order(a: DeltaParts, b: DeltaParts, c: DeltaParts) -> None:
    a = a._replace(from_=Revision(1), to=Revision(5))
    b = b._replace(epoch=a.epoch, from_=a.to, to=Revision(6))
    c = c._replace(epoch=a.epoch, from_=b.to, to=Revision(9))
    first, second, third = (text_of(ACCOUNT, one) for one in (a, b, c))
    whole = merge(ACCOUNT, [first, second, third])
    assert merge(ACCOUNT, [merge(ACCOUNT, [first, second]), third]) == whole
    assert merge(ACCOUNT, [first, merge(ACCOUNT, [second, third])]) == whole
    parts = parts_of(whole)
    assert (parts.from_, parts.to, parts.balance) == (a.from_, c.to, c.balance)


@given(
    st.binary(max_size=80)
    | samples.spoiled(samples.parts().map(lambda parts: encode_delta(written(ACCOUNT, LANE, parts))))
)
def test_any_bytes_are_a_delta_or_raise_decode_error(message: bytes) -> None:
    try:
        delta = decode_delta(ACCOUNT, message)
    except DecodeError:
        return
    assert decode_delta(ACCOUNT, encode_delta(delta)) == delta
    said = json.loads(delta.text)
    assert (said["type"], said["channel"], said["epoch"]) == ("delta", "account:acc-0001", delta.epoch)
    assert (said["from"], said["to"]) == (delta.from_, delta.to)


@given(samples.accounts)
def test_a_delta_of_another_account_is_none(account: AccountId) -> None:
    with pytest.raises(DecodeError, match="another account"):
        decode_delta(account, encode_delta(written(ACCOUNT, LANE, ALONE)))


@given(st.binary(max_size=80) | samples.spoiled(samples.progresses.map(encode_progress)))
def test_any_bytes_are_progress_or_raise_decode_error(message: bytes) -> None:
    try:
        progress = decode_progress(message)
    except DecodeError:
        return
    assert decode_progress(encode_progress(progress)) == progress


@given(samples.accounts)
def test_a_channel_names_its_account(account: AccountId) -> None:
    assert account_of("live:", redis_account("live:", account)) == account
    assert account_of("other:", redis_account("live:", account)) is None
