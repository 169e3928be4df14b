from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka.codec import AVRO, JSON, Codec, ConfluentCodec
from livebalance.wire.kafka.record import Balance, Transfer
from tests.unit.wire import samples

CODECS: dict[str, Codec] = {"confluent": ConfluentCodec(FileRegistry()), "avro": AVRO, "json": JSON}


def codecs() -> Iterable[Codec]:
    return CODECS.values()


@given(samples.transfers, samples.balances)
def test_record_round_trips(transfer: Transfer, balance: Balance) -> None:
    for codec in codecs():
        assert codec.decode_transfer(codec.encode_transfer(transfer)) == transfer
        assert codec.decode_balance(codec.encode_balance(balance)) == balance


@given(
    st.binary(max_size=60)
    | samples.corrupted(samples.transfers.map(JSON.encode_transfer))
    | samples.corrupted(samples.balances.map(AVRO.encode_balance))
)
def test_random_bytes_decode_or_raise_decode_error(value: bytes) -> None:
    for codec in codecs():
        for decode in (codec.decode_transfer, codec.decode_balance):
            try:
                decode(value)
            except DecodeError:
                continue


@pytest.mark.parametrize(
    "value",
    [
        b'{"id":"t","account_id":"a","amount_unscaled":1.5,"amount_scale":2,"transfer_TS":0}',
        b'{"id":"t","account_id":"a","amount_unscaled":"1","amount_scale":2,"transfer_TS":0}',
        b'{"id":"t","account_id":"a","amount_unscaled":NaN,"amount_scale":2,"transfer_TS":0}',
        b'{"id":"t","account_id":"a","amount_scale":2,"transfer_TS":0}',
        b'[{"id":"t"}]',
        b'{"id":"\xff","account_id":"a","amount_unscaled":1,"amount_scale":2,"transfer_TS":0}',
    ],
)
def test_json_without_the_fields_of_a_transfer_is_rejected(value: bytes) -> None:
    with pytest.raises(DecodeError):
        JSON.decode_transfer(value)


def test_json_with_unknown_fields_is_accepted() -> None:
    value = b'{"note":{},"id":"t","account_id":"a","amount_unscaled":150,"amount_scale":2,"transfer_TS":7}'
    transfer = JSON.decode_transfer(value)
    assert (transfer.id, transfer.account, str(transfer.amount), transfer.time_ms) == ("t", "a", "1.50", 7)
