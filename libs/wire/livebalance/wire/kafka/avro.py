"""Kafka values in Avro: the two records, bare or in Confluent's frame (byte 0, int32 schema id, body).

The texts of decode errors are stored as reasons in the quarantine and are documented in docs/errors.md.
"""

import io
import json
import struct
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, NewType

import fastavro

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money

SchemaId = NewType("SchemaId", int)
Schema = dict[str, Any]  # an Avro record schema, parsed by fastavro
WriterSchemas = Callable[[SchemaId], Schema]  # looks up the schema that a value was written with; may raise

_FRAME = struct.Struct(">BI")


def parse_schema(text: str) -> Schema:
    """Returns a record schema in the form that fastavro reads.

    Raises:
        DecodeError: `text` is not the Avro schema of a record.
    """
    try:
        schema = fastavro.parse_schema(json.loads(text))
    except Exception as cause:  # for invalid schemas fastavro raises any kind of exception
        raise DecodeError("not an Avro schema") from cause
    if not isinstance(schema, dict):
        raise DecodeError("not the schema of a record")
    return schema


def _read_schema(name: str) -> str:
    return (files("livebalance.wire") / "schemas" / name).read_text()


TRANSFER_SCHEMA_TEXT = _read_schema("transfer.avsc")
BALANCE_SCHEMA_TEXT = _read_schema("account-balance.avsc")
TRANSFER_SCHEMA, BALANCE_SCHEMA = parse_schema(TRANSFER_SCHEMA_TEXT), parse_schema(BALANCE_SCHEMA_TEXT)


def schema_id(value: bytes) -> SchemaId:
    """Returns the id of the schema that a framed value was written with.

    Raises:
        DecodeError: `value` does not begin with a Confluent frame.
    """
    if len(value) < _FRAME.size or value[0] != 0:
        raise DecodeError("not Confluent-framed")
    return SchemaId(_FRAME.unpack_from(value)[1])


def _decode_body(value: bytes, start: int, writer: Schema, reader: Schema) -> dict[str, Any]:
    """Decodes the record from `start` to the end of `value`."""
    body = io.BytesIO(value)
    body.seek(start)
    try:
        record = fastavro.schemaless_reader(body, writer, None if writer is reader else reader)
    except Exception as cause:  # for invalid bytes fastavro raises any kind of exception
        raise DecodeError("not a valid Avro body") from cause
    if body.tell() != len(value):
        raise DecodeError("bytes after the Avro body")
    if not isinstance(record, dict):
        raise DecodeError("not an Avro record")
    return record


def decode_transfer(value: bytes, writers: WriterSchemas) -> Transfer:
    """Returns the transfer in a framed value.

    Raises:
        DecodeError: `value` is not a framed transfer. Exceptions of `writers` pass through.
    """
    body = _decode_body(value, _FRAME.size, writers(schema_id(value)), TRANSFER_SCHEMA)
    return transfer_from_fields(body)


def decode_balance(value: bytes, writers: WriterSchemas) -> Balance:
    """Returns the balance in a framed value.

    Raises:
        DecodeError: `value` is not a framed balance. Exceptions of `writers` pass through.
    """
    body = _decode_body(value, _FRAME.size, writers(schema_id(value)), BALANCE_SCHEMA)
    return balance_from_fields(body)


def decode_bare_transfer(value: bytes) -> Transfer:
    """Returns the transfer in a value without a frame, written with `TRANSFER_SCHEMA`.

    Raises:
        DecodeError: `value` is not such a transfer.
    """
    return transfer_from_fields(_decode_body(value, 0, TRANSFER_SCHEMA, TRANSFER_SCHEMA))


def decode_bare_balance(value: bytes) -> Balance:
    """Returns the balance in a value without a frame, written with `BALANCE_SCHEMA`.

    Raises:
        DecodeError: `value` is not such a balance.
    """
    return balance_from_fields(_decode_body(value, 0, BALANCE_SCHEMA, BALANCE_SCHEMA))


def transfer_from_fields(fields: Mapping[str, Any]) -> Transfer:
    """Returns the transfer with the fields of an Avro record."""
    amount = Money(fields["amount_unscaled"], fields["amount_scale"])
    return Transfer(TransferId(fields["id"]), AccountId(fields["account_id"]), amount, fields["transfer_TS"])


def balance_from_fields(fields: Mapping[str, Any]) -> Balance:
    """Returns the balance with the fields of an Avro record."""
    return Balance(
        AccountId(fields["account_id"]),
        fields["client_id"],
        TransferId(fields["transfer_id"]),
        Money(fields["balance_unscaled"], fields["balance_scale"]),
        fields["version"],
    )


def transfer_fields(record: Transfer) -> dict[str, Any]:
    """Returns the fields of the Avro record of a transfer."""
    return {
        "id": record.id,
        "account_id": record.account,
        "amount_unscaled": record.amount.unscaled,
        "amount_scale": record.amount.scale,
        "transfer_TS": record.time_ms,
    }


def balance_fields(record: Balance) -> dict[str, Any]:
    """Returns the fields of the Avro record of a balance."""
    return {
        "account_id": record.account,
        "client_id": record.client_id,
        "transfer_id": record.transfer_id,
        "balance_unscaled": record.amount.unscaled,
        "balance_scale": record.amount.scale,
        "version": record.version,
    }


def _encode_body(schema: Schema, fields: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, fields)
    return out.getvalue()


def encode_bare_transfer(record: Transfer) -> bytes:
    """Returns a transfer as an Avro value without a frame."""
    return _encode_body(TRANSFER_SCHEMA, transfer_fields(record))


def encode_bare_balance(record: Balance) -> bytes:
    """Returns a balance as an Avro value without a frame."""
    return _encode_body(BALANCE_SCHEMA, balance_fields(record))


def encode_transfer(record: Transfer, id_: SchemaId) -> bytes:
    """Returns a transfer as a framed Avro value. `id_` is the id of `TRANSFER_SCHEMA` in the registry."""
    return _FRAME.pack(0, id_) + encode_bare_transfer(record)


def encode_balance(record: Balance, id_: SchemaId) -> bytes:
    """Returns a balance as a framed Avro value. `id_` is the id of `BALANCE_SCHEMA` in the registry."""
    return _FRAME.pack(0, id_) + encode_bare_balance(record)
