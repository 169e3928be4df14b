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


def each() -> Iterable[Codec]:
    return CODECS.values()


@given(samples.transfers, samples.balances)
def test_a_record_comes_back(transfer: Transfer, balance: Balance) -> None:
    for codec in each():
        assert codec.transfer(codec.write_transfer(transfer)) == transfer
        assert codec.balance(codec.write_balance(balance)) == balance


@given(
    st.binary(max_size=60)
    | samples.spoiled(samples.transfers.map(JSON.write_transfer))
    | samples.spoiled(samples.balances.map(AVRO.write_balance))
)
def test_any_bytes_are_a_record_or_raise_decode_error(value: bytes) -> None:
    for codec in each():
        for read in (codec.transfer, codec.balance):
            try:
                read(value)
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
def test_json_that_is_no_transfer(value: bytes) -> None:
    with pytest.raises(DecodeError):
        JSON.transfer(value)


def test_json_may_say_more() -> None:
    value = b'{"note":{},"id":"t","account_id":"a","amount_unscaled":150,"amount_scale":2,"transfer_TS":7}'
    found = JSON.transfer(value)
    assert (found.id, found.account, str(found.amount), found.time_ms) == ("t", "a", "1.50", 7)
