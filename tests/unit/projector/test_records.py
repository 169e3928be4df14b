"""Decoding of Kafka records, and the order in which they are applied."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.projector.fold import records as decoding
from livebalance.projector.fold.records import (
    Incoming,
    fingerprint,
    limit_consecutive_rejects,
)
from livebalance.readmodel.rows import quarantine_row
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID, FileRegistry
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.codec import Codec, ConfluentCodec
from livebalance.wire.kafka.headers import encode_headers
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import MAX_SCALE, Money
from livebalance.wire.timestamp import MAX_MILLIS
from tests.pieces import finish
from tests.unit.projector.histories import incoming, raw_record

CODEC = ConfluentCodec(FileRegistry())
TRANSFER = Transfer(TransferId("t"), AccountId("a"), Money(5, 2), 7)
BALANCE = Balance(AccountId("a"), "c", TransferId("t"), Money(5, 2), 1)


def decode_and_merge(
    transfers: Sequence[RawRecord], balances: Sequence[RawRecord], codec: Codec, max_scale: int = MAX_SCALE
) -> list[Incoming]:
    return finish(decoding.decode_and_merge(transfers, balances, codec, max_scale))


def transfer_record(offset: int = 0, timestamp: int = 0, transfer: Transfer = TRANSFER) -> RawRecord:
    value = avro.encode_transfer(transfer, TRANSFER_ID)
    return raw_record(offset=offset, timestamp=timestamp, key=b"a", value=value)


def balance_record(offset: int = 0, timestamp: int = 0, balance: Balance = BALANCE) -> RawRecord:
    value = avro.encode_balance(balance, BALANCE_ID)
    return raw_record("account-balances", offset=offset, timestamp=timestamp, key=b"a", value=value)


def test_records_of_both_topics_are_decoded() -> None:
    [transfer] = decode_and_merge([transfer_record(4, 9)], [], CODEC)
    [balance] = decode_and_merge([], [balance_record(5)], CODEC)
    assert (transfer.content, transfer.lane, transfer.offset, transfer.at) == (TRANSFER, 3, 4, 9)
    assert balance.content == BALANCE


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (raw_record(value=None), "no value"),
        (raw_record(value=b""), "not Confluent-framed"),
        (raw_record(value=b"\x00\x00\x00\x00\x09x"), "unknown schema id 9"),
        (transfer_record()._replace(key=b"b"), "key is not the account id"),
        (transfer_record()._replace(key=None), "key is not the account id"),
        (transfer_record(transfer=TRANSFER._replace(id=TransferId(""))), "bad transfer id"),
    ],
)
def test_invalid_transfer_is_rejected_with_a_reason(raw: RawRecord, reason: str) -> None:
    assert decode_and_merge([raw], [], CODEC)[0].content == Rejected(reason)


def test_null_balance_erases_only_with_a_valid_key() -> None:
    null = raw_record("account-balances", value=None)
    assert decode_and_merge([], [null], CODEC)[0].content == Erasure(AccountId("a"))
    for key in (None, b"", b"\xff", b"a b"):
        assert decode_and_merge([], [null._replace(key=key)], CODEC)[0].content == Rejected("bad account id")


@given(st.binary(max_size=40), st.binary(max_size=9) | st.none(), st.integers(-1, 2**62))
def test_arbitrary_bytes_raise_nothing(value: bytes, key: bytes | None, time: int) -> None:
    raw = raw_record(value=b"\x00\x00\x00\x00\x01" + value, key=key, timestamp=time)
    for record in decode_and_merge([raw], [raw._replace(topic="account-balances")], CODEC):
        assert 0 <= record.at <= MAX_MILLIS


times = st.lists(st.integers(0, 20), max_size=8)


@given(times, times)
def test_topics_are_merged_by_time_and_keep_their_order(first: list[int], second: list[int]) -> None:
    merged = decode_and_merge(
        [transfer_record(offset, time) for offset, time in enumerate(first)],
        [balance_record(offset, time) for offset, time in enumerate(second)],
        CODEC,
    )
    for topic, count in (("transfers", len(first)), ("account-balances", len(second))):
        assert [record.offset for record in merged if record.raw.topic == topic] == list(range(count))
    if first == sorted(first) and second == sorted(second):
        assert [record.at for record in merged] == sorted(first + second)


@pytest.mark.parametrize(
    ("transfer_times", "balance_times", "merged"),
    [
        ([5, 6], [7], "ttb"),
        ([5], [3, 4], "bbt"),
        ([9, 1], [9], "ttb"),  # a clock was set back
        ([4], [9, 1], "tbb"),
        ([5], [5], "tb"),  # at the same time, transfers come first
    ],
)
def test_merged_records_are_in_the_order_of_the_latest_time_so_far(
    transfer_times: list[int], balance_times: list[int], merged: str
) -> None:
    records = decode_and_merge(
        [transfer_record(offset, time) for offset, time in enumerate(transfer_times)],
        [balance_record(offset, time) for offset, time in enumerate(balance_times)],
        CODEC,
    )
    assert "".join(record.raw.topic.removeprefix("account-")[0] for record in records) == merged


def test_amount_of_a_larger_scale_than_allowed_is_rejected() -> None:
    for transfers, balances in (([transfer_record()], []), ([], [balance_record()])):
        [record] = decode_and_merge(transfers, balances, CODEC, max_scale=1)
        assert isinstance(record.content, Rejected)


def good_or_rejected(*goods: bool) -> list[Incoming]:
    return [incoming(TRANSFER if good else Rejected("bad"), offset, 0) for offset, good in enumerate(goods)]


@pytest.mark.parametrize(
    ("goods", "before", "applied", "after"),
    [
        ((True, False, False), 0, 3, 2),
        ((False, False, False), 0, 2, 3),
        ((False, True, False, False), 1, 4, 2),
        ((False, True), 2, 0, 3),
        ((), 2, 0, 2),
    ],
)
def test_consecutive_rejects_over_the_limit_cut_the_batch(
    goods: tuple[bool, ...], before: int, applied: int, after: int
) -> None:
    records, rejects = limit_consecutive_rejects(good_or_rejected(*goods), {"transfers": before}, limit=2)
    assert (len(records), rejects) == (applied, {"transfers": after})


def test_consecutive_rejects_of_each_topic_are_counted_apart() -> None:
    bad = good_or_rejected(False)[0]
    other = bad._replace(raw=bad.raw._replace(topic="account-balances"))
    records, rejects = limit_consecutive_rejects([bad, other] * 3, {}, limit=2)
    assert (len(records), rejects) == (4, {"transfers": 3, "account-balances": 2})


def test_fingerprints_of_different_records_differ() -> None:
    raw = raw_record(key=b"a", value=b"b", timestamp=1)
    others = [
        raw._replace(key=b"ab", value=b""),
        raw._replace(key=None),
        raw._replace(value=None),
        raw._replace(timestamp=2),
    ]
    assert len({fingerprint(record) for record in [raw, *others]}) == 5
    assert fingerprint(raw) == fingerprint(raw._replace(offset=9))


def test_quarantine_row_keeps_the_bytes() -> None:
    raw = raw_record(key=None, value=b"\x00", headers=[(b"\x00\xff", b"\xff"), (b"n", None)], offset=6)
    assert quarantine_row(raw._replace(timestamp=11), "bad") == (
        "transfers",
        3,
        6,
        None,
        b"\x00",
        encode_headers(raw.headers),
        11,
        "bad",
        "held",
    )
