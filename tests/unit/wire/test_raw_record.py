"""Whatever the bytes of a record, decoding gives a record or the reason of a rejection."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID, FileRegistry
from livebalance.wire.identity import AccountId, TransferId, is_id
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.codec import AVRO, JSON, ConfluentCodec
from livebalance.wire.kafka.headers import decode_headers, encode_headers
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected, decode_balance, decode_transfer
from livebalance.wire.kafka.record import Balance, Transfer, rejection_reason
from livebalance.wire.money import Money

CODECS = ConfluentCodec(FileRegistry()), AVRO, JSON
TRANSFER = Transfer(TransferId("t"), AccountId("a"), Money(5, 2), 7)
BALANCE = Balance(AccountId("a"), "c", TransferId("t"), Money(5, 2), 1)
VALUES = [
    b"",
    b"\x00\x00\x00\x00\x01",
    avro.encode_transfer(TRANSFER, TRANSFER_ID),
    avro.encode_balance(BALANCE, BALANCE_ID),
    *chain.from_iterable(
        (codec.encode_transfer(TRANSFER), codec.encode_balance(BALANCE)) for codec in CODECS
    ),
]

near_values = st.sampled_from(VALUES).flatmap(
    lambda value: st.builds(
        lambda at, more, cut: value[:at] + more + value[at + cut :],
        st.integers(0, len(value)),
        st.binary(max_size=12) | st.sampled_from([b"\\ud800", b"\\u0000", b"1e400", b"-0", b"9" * 5000]),
        st.integers(0, 8),
    )
)
names = st.binary(max_size=9) | st.sampled_from([b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"h"])
headers = st.lists(st.tuples(names, st.binary(max_size=9) | st.none()), max_size=3).map(tuple)
raw_records = st.builds(
    RawRecord,
    st.just("any"),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.binary(max_size=9) | st.sampled_from([b"a", b"\xff", b"a\x00", "ä".encode()]),
    st.none() | st.binary(max_size=40) | near_values,
    headers,
    st.none(),
)


@given(raw_records, st.sampled_from(CODECS))
def test_any_record_is_decoded_or_rejected(raw: RawRecord, codec: ConfluentCodec) -> None:
    for content in (decode_transfer(raw, codec), decode_balance(raw, codec)):
        if isinstance(content, Rejected):
            assert content.reason.isprintable()
        elif isinstance(content, Erasure):
            assert is_id(content.account)
        else:
            assert rejection_reason(content, raw.key) is None


@given(headers)
def test_encoded_headers_are_decoded_unchanged(given_headers: tuple[tuple[bytes, bytes | None], ...]) -> None:
    assert decode_headers(encode_headers(given_headers)) == given_headers


def test_null_balance_erases_only_with_a_valid_key() -> None:
    def decode(key: bytes | None) -> object:
        return decode_balance(RawRecord("balances", 0, 0, 0, key, None), CODECS[0])

    assert decode(b"a") == Erasure(AccountId("a"))
    for key in (None, b"", b"\xff", b"a b", b"a\x00", b"a" * 65):
        assert decode(key) == Rejected("bad account id")


def test_record_of_a_larger_scale_than_the_maximum_is_rejected() -> None:
    codec = JSON
    transfer = RawRecord("t", 0, 0, 0, b"a", codec.encode_transfer(TRANSFER))
    balance = transfer._replace(value=codec.encode_balance(BALANCE))
    rejected = Rejected("scale is not 0..1")
    assert [decode_transfer(transfer, codec, scale) for scale in (2, 1)] == [TRANSFER, rejected]
    assert [decode_balance(balance, codec, scale) for scale in (2, 1)] == [BALANCE, rejected]
