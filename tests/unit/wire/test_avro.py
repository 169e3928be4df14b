import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import Schema, SchemaId
from livebalance.wire.kafka.record import Balance, Transfer
from tests.unit.wire import samples

schema_ids = st.integers(0, 2**31 - 1).map(SchemaId)
LATER = avro.parsed(
    '{"type":"record","name":"Transfer","namespace":"net.devaction.kafka.avro","fields":['
    '{"name":"id","type":"string"},{"name":"account_id","type":"string"},{"name":"amount_unscaled","type":"long"},'
    '{"name":"amount_scale","type":"int"},{"name":"transfer_TS","type":"long"},'
    '{"name":"tags","type":{"type":"array","items":["null","double","string"]}}]}'
)

STRANGE = ['"string"', "[]", "{}", "null", '{"type":"record"}', '["int"]', "[" * 9999]


def ours(schema: Schema) -> avro.Writers:
    return lambda _: schema


def transfer_bytes(record: Transfer) -> bytes:
    return avro.encode_transfer(record, SchemaId(1))


@given(samples.transfers, schema_ids)
def test_a_transfer_comes_back(record: Transfer, id_: SchemaId) -> None:
    value = avro.encode_transfer(record, id_)
    assert avro.schema_id(value) == id_
    assert avro.decode_transfer(value, ours(avro.TRANSFER)) == record


@given(samples.balances, schema_ids)
def test_a_balance_comes_back(record: Balance, id_: SchemaId) -> None:
    value = avro.encode_balance(record, id_)
    assert avro.schema_id(value) == id_
    assert avro.decode_balance(value, ours(avro.BALANCE)) == record


@given(
    st.binary(max_size=80)
    | st.binary(max_size=80).map(lambda body: bytes(5) + body)
    | samples.spoiled(samples.transfers.map(transfer_bytes)),
    st.sampled_from([avro.TRANSFER, avro.BALANCE, LATER]),
)
def test_any_bytes_decode_or_raise_decode_error(value: bytes, writer: Schema) -> None:
    for decode in (avro.decode_transfer, avro.decode_balance):
        with contextlib.suppress(DecodeError):
            decode(value, ours(writer))


@given(samples.transfers, st.binary(min_size=1, max_size=4))
def test_bytes_after_the_body_are_refused(record: Transfer, more: bytes) -> None:
    with pytest.raises(DecodeError):
        avro.decode_transfer(transfer_bytes(record) + more, ours(avro.TRANSFER))


@given(samples.transfers, st.data())
def test_a_body_cut_short_is_refused(record: Transfer, data: st.DataObject) -> None:
    value = transfer_bytes(record)
    with pytest.raises(DecodeError):
        avro.decode_transfer(value[: data.draw(st.integers(0, len(value) - 1))], ours(avro.TRANSFER))


def test_what_the_registry_raises_is_its_own_affair() -> None:
    class AwayError(Exception):
        pass

    def away(_: SchemaId) -> Schema:
        raise AwayError

    with pytest.raises(AwayError):
        avro.decode_transfer(bytes(20), away)


@given(st.text(max_size=30) | st.sampled_from(STRANGE))
def test_any_text_is_a_schema_or_raises_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        avro.parsed(text)
