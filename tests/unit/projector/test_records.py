"""What a Kafka record becomes, and in which order records are applied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.projector.fold.records import (
    Erasure,
    Incoming,
    Rejected,
    decode_and_merge,
    fingerprint,
    limit_consecutive_rejects,
    quarantine_row,
)
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID, FileRegistry
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.codec import ConfluentCodec
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import MAX_MILLIS
from tests.unit.projector.histories import Raw, arrived

CODEC = ConfluentCodec(FileRegistry())
TRANSFER = Transfer(TransferId("t"), AccountId("a"), Money(5, 2), 7)
BALANCE = Balance(AccountId("a"), "c", TransferId("t"), Money(5, 2), 1)


def of_transfer(offset: int = 0, timestamp: int = 0, transfer: Transfer = TRANSFER) -> Raw:
    value = avro.encode_transfer(transfer, TRANSFER_ID)
    return Raw(offset=offset, timestamp=timestamp, key=b"a", value=value)


def of_balance(offset: int = 0, timestamp: int = 0, balance: Balance = BALANCE) -> Raw:
    value = avro.encode_balance(balance, BALANCE_ID)
    return Raw("account-balances", offset=offset, timestamp=timestamp, key=b"a", value=value)


def test_records_are_decoded() -> None:
    [transfer] = decode_and_merge([of_transfer(4, 9)], [], CODEC)
    [balance] = decode_and_merge([], [of_balance(5)], CODEC)
    assert (transfer.content, transfer.lane, transfer.offset, transfer.at) == (TRANSFER, 3, 4, 9)
    assert balance.content == BALANCE


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (Raw(value=None), "no value"),
        (Raw(value=b""), "not Confluent-framed"),
        (Raw(value=b"\x00\x00\x00\x00\x09x"), "unknown schema id 9"),
        (of_transfer()._replace(key=b"b"), "key is not the account id"),
        (of_transfer()._replace(key=None), "key is not the account id"),
        (of_transfer(transfer=TRANSFER._replace(id=TransferId(""))), "bad transfer id"),
    ],
)
def test_a_bad_transfer_is_refused_with_a_reason(raw: Raw, reason: str) -> None:
    assert decode_and_merge([raw], [], CODEC)[0].content == Rejected(reason)


def test_a_null_balance_erases_and_needs_a_good_key() -> None:
    null = Raw("account-balances", value=None)
    assert decode_and_merge([], [null], CODEC)[0].content == Erasure(AccountId("a"))
    for key in (None, b"", b"\xff", b"a b"):
        assert decode_and_merge([], [null._replace(key=key)], CODEC)[0].content == Rejected("bad account id")


@given(st.binary(max_size=40), st.binary(max_size=9) | st.none(), st.integers(-1, 2**62))
def test_no_bytes_raise(value: bytes, key: bytes | None, time: int) -> None:
    raw = Raw(value=b"\x00\x00\x00\x00\x01" + value, key=key, timestamp=time)
    for one in decode_and_merge([raw], [raw._replace(topic="account-balances")], CODEC):
        assert 0 <= one.at <= MAX_MILLIS


times = st.lists(st.integers(0, 20), max_size=8)


@given(times, times)
def test_topics_merge_by_time_and_keep_their_own_order(first: list[int], second: list[int]) -> None:
    merged = decode_and_merge(
        [of_transfer(offset, time) for offset, time in enumerate(first)],
        [of_balance(offset, time) for offset, time in enumerate(second)],
        CODEC,
    )
    for topic, count in (("transfers", len(first)), ("account-balances", len(second))):
        assert [one.offset for one in merged if one.raw.topic == topic] == list(range(count))
    if first == sorted(first) and second == sorted(second):
        assert [one.at for one in merged] == sorted(first + second)


def streak(*what: bool) -> list[Incoming]:
    return [arrived(TRANSFER if good else Rejected("bad"), offset, 0) for offset, good in enumerate(what)]


@pytest.mark.parametrize(
    ("what", "before", "taken", "after"),
    [
        ((True, False, False), 0, 3, 2),
        ((False, False, False), 0, 2, 3),
        ((False, True, False, False), 1, 4, 2),
        ((False, True), 2, 0, 3),
        ((), 2, 0, 2),
    ],
)
def test_a_streak_of_refused_records_ends_the_taking(
    what: tuple[bool, ...], before: int, taken: int, after: int
) -> None:
    kept, now = limit_consecutive_rejects(streak(*what), before, limit=2)
    assert (len(kept), now) == (taken, after)


def test_fingerprints_tell_records_apart() -> None:
    raw = Raw(key=b"a", value=b"b", timestamp=1)
    others = [
        raw._replace(key=b"ab", value=b""),
        raw._replace(key=None),
        raw._replace(value=None),
        raw._replace(timestamp=2),
    ]
    assert len({fingerprint(one) for one in [raw, *others]}) == 5
    assert fingerprint(raw) == fingerprint(raw._replace(offset=9))


def test_a_quarantined_record_keeps_its_bytes() -> None:
    raw = Raw(key=None, value=b"\x00", headers=[("h", b"\xff"), ("n", None)], offset=6)
    one = arrived(Rejected("bad"), 6, 11)._replace(raw=raw)
    assert quarantine_row(one, "bad") == (
        "transfers",
        3,
        6,
        None,
        b"\x00",
        '[["h", "ff"], ["n", null]]',
        11,
        "bad",
        "held",
    )
