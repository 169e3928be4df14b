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
LATER = avro.parse_schema(
    '{"type":"record","name":"Transfer","namespace":"net.devaction.kafka.avro","fields":['
    '{"name":"id","type":"string"},{"name":"account_id","type":"string"},{"name":"amount_unscaled","type":"long"},'
    '{"name":"amount_scale","type":"int"},{"name":"transfer_TS","type":"long"},'
    '{"name":"tags","type":{"type":"array","items":["null","double","string"]}}]}'
)

INVALID_SCHEMAS = ['"string"', "[]", "{}", "null", '{"type":"record"}', '["int"]', "[" * 9999]


def only(schema: Schema) -> avro.WriterSchemas:
    return lambda _: schema


def transfer_bytes(record: Transfer) -> bytes:
    return avro.encode_transfer(record, SchemaId(1))


@given(samples.transfers, schema_ids)
def test_transfer_round_trips(record: Transfer, id_: SchemaId) -> None:
    value = avro.encode_transfer(record, id_)
    assert avro.schema_id(value) == id_
    assert avro.decode_transfer(value, only(avro.TRANSFER_SCHEMA)) == record


@given(samples.balances, schema_ids)
def test_balance_round_trips(record: Balance, id_: SchemaId) -> None:
    value = avro.encode_balance(record, id_)
    assert avro.schema_id(value) == id_
    assert avro.decode_balance(value, only(avro.BALANCE_SCHEMA)) == record


@given(
    st.binary(max_size=80)
    | st.binary(max_size=80).map(lambda body: bytes(5) + body)
    | samples.corrupted(samples.transfers.map(transfer_bytes)),
    st.sampled_from([avro.TRANSFER_SCHEMA, avro.BALANCE_SCHEMA, LATER]),
)
def test_random_bytes_decode_or_raise_decode_error(value: bytes, writer: Schema) -> None:
    for decode in (avro.decode_transfer, avro.decode_balance):
        with contextlib.suppress(DecodeError):
            decode(value, only(writer))


@given(samples.transfers, st.binary(min_size=1, max_size=4))
def test_value_with_bytes_after_the_body_is_rejected(record: Transfer, more: bytes) -> None:
    with pytest.raises(DecodeError):
        avro.decode_transfer(transfer_bytes(record) + more, only(avro.TRANSFER_SCHEMA))


@given(samples.transfers, st.data())
def test_truncated_value_is_rejected(record: Transfer, data: st.DataObject) -> None:
    value = transfer_bytes(record)
    with pytest.raises(DecodeError):
        avro.decode_transfer(value[: data.draw(st.integers(0, len(value) - 1))], only(avro.TRANSFER_SCHEMA))


def test_exception_of_the_schema_lookup_passes_through() -> None:
    class UnreachableError(Exception):
        pass

    def unreachable(_: SchemaId) -> Schema:
        raise UnreachableError

    with pytest.raises(UnreachableError):
        avro.decode_transfer(bytes(20), unreachable)


@given(st.text(max_size=30) | st.sampled_from(INVALID_SCHEMAS))
def test_random_text_parses_as_schema_or_raises_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        avro.parse_schema(text)
