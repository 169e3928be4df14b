"""Kafka values in Avro: the two records, bare or in Confluent's frame (byte 0, int32 schema id, body)."""

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
Schema = dict[str, Any]  # a parsed Avro record schema, as fastavro takes it
Writers = Callable[[SchemaId], Schema]  # a registry's look-up; what it raises is its own affair

_FRAME = struct.Struct(">BI")


def parsed(text: str) -> Schema:
    """Raises DecodeError when `text` is not an Avro schema."""
    try:
        schema = fastavro.parse_schema(json.loads(text))
    except Exception as cause:  # fastavro takes what it is given apart without asking what it is
        raise DecodeError("not an Avro schema") from cause
    if not isinstance(schema, dict):
        raise DecodeError("not the schema of a record")
    return schema


def _own(name: str) -> str:
    return (files("livebalance.wire") / "schemas" / name).read_text()


TRANSFER_TEXT, BALANCE_TEXT = _own("transfer.avsc"), _own("account-balance.avsc")
TRANSFER, BALANCE = parsed(TRANSFER_TEXT), parsed(BALANCE_TEXT)


def schema_id(value: bytes) -> SchemaId:
    """The writer's schema id of a framed value. Raises DecodeError."""
    if len(value) < _FRAME.size or value[0] != 0:
        raise DecodeError("not Confluent-framed")
    return SchemaId(_FRAME.unpack_from(value)[1])


def _body(value: bytes, start: int, writer: Schema, reader: Schema) -> dict[str, Any]:
    """The record from `start` to the end of `value`."""
    body = io.BytesIO(value)
    body.seek(start)
    try:
        found = fastavro.schemaless_reader(body, writer, None if writer is reader else reader)
    except Exception as cause:  # fastavro raises a dozen kinds of its own and of Python's on bad bytes
        raise DecodeError("not a valid Avro body") from cause
    if body.tell() != len(value):
        raise DecodeError("bytes after the Avro body")
    if not isinstance(found, dict):
        raise DecodeError("not an Avro record")
    return found


def decode_transfer(value: bytes, writers: Writers) -> Transfer:
    """Raises DecodeError, and whatever `writers` raises for an id it does not know."""
    return transfer_of(_body(value, _FRAME.size, writers(schema_id(value)), TRANSFER))


def decode_balance(value: bytes, writers: Writers) -> Balance:
    """Raises DecodeError, and whatever `writers` raises for an id it does not know."""
    return balance_of(_body(value, _FRAME.size, writers(schema_id(value)), BALANCE))


def decode_bare_transfer(value: bytes) -> Transfer:
    """Without a frame, written by our own schema. Raises DecodeError."""
    return transfer_of(_body(value, 0, TRANSFER, TRANSFER))


def decode_bare_balance(value: bytes) -> Balance:
    """Without a frame, written by our own schema. Raises DecodeError."""
    return balance_of(_body(value, 0, BALANCE, BALANCE))


def transfer_of(fields: Mapping[str, Any]) -> Transfer:
    """From the fields of the Avro record."""
    amount = Money(fields["amount_unscaled"], fields["amount_scale"])
    return Transfer(TransferId(fields["id"]), AccountId(fields["account_id"]), amount, fields["transfer_TS"])


def balance_of(fields: Mapping[str, Any]) -> Balance:
    """From the fields of the Avro record."""
    return Balance(
        AccountId(fields["account_id"]),
        fields["client_id"],
        TransferId(fields["transfer_id"]),
        Money(fields["balance_unscaled"], fields["balance_scale"]),
        fields["version"],
    )


def fields_of_transfer(record: Transfer) -> dict[str, Any]:
    """As the Avro record has them."""
    return {
        "id": record.id,
        "account_id": record.account,
        "amount_unscaled": record.amount.unscaled,
        "amount_scale": record.amount.scale,
        "transfer_TS": record.time_ms,
    }


def fields_of_balance(record: Balance) -> dict[str, Any]:
    """As the Avro record has them."""
    return {
        "account_id": record.account,
        "client_id": record.client_id,
        "transfer_id": record.transfer_id,
        "balance_unscaled": record.amount.unscaled,
        "balance_scale": record.amount.scale,
        "version": record.version,
    }


def _written(schema: Schema, fields: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, fields)
    return out.getvalue()


def encode_bare_transfer(record: Transfer) -> bytes:
    return _written(TRANSFER, fields_of_transfer(record))


def encode_bare_balance(record: Balance) -> bytes:
    return _written(BALANCE, fields_of_balance(record))


def encode_transfer(record: Transfer, id_: SchemaId) -> bytes:
    return _FRAME.pack(0, id_) + encode_bare_transfer(record)


def encode_balance(record: Balance, id_: SchemaId) -> bytes:
    return _FRAME.pack(0, id_) + encode_bare_balance(record)
