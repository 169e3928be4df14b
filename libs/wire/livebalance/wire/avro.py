"""Kafka values: Confluent framing (byte 0, int32 schema id, Avro body) around the two Avro records."""

import io
import json
import struct
from collections.abc import Callable
from importlib.resources import files
from typing import Any, NewType

import fastavro

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.money import Money
from livebalance.wire.record import Balance, Transfer

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


def _own(name: str) -> Schema:
    return parsed((files("livebalance.wire") / "schemas" / name).read_text())


TRANSFER = _own("transfer.avsc")
BALANCE = _own("account-balance.avsc")


def schema_id(value: bytes) -> SchemaId:
    """The writer's schema id of a framed value. Raises DecodeError."""
    if len(value) < _FRAME.size or value[0] != 0:
        raise DecodeError("not Confluent-framed")
    return SchemaId(_FRAME.unpack_from(value)[1])


def _read(value: bytes, writers: Writers, reader: Schema) -> dict[str, Any]:
    writer = writers(schema_id(value))
    body = io.BytesIO(value)
    body.seek(_FRAME.size)
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
    found = _read(value, writers, TRANSFER)
    amount = Money(found["amount_unscaled"], found["amount_scale"])
    return Transfer(TransferId(found["id"]), AccountId(found["account_id"]), amount, found["transfer_TS"])


def decode_balance(value: bytes, writers: Writers) -> Balance:
    """Raises DecodeError, and whatever `writers` raises for an id it does not know."""
    found = _read(value, writers, BALANCE)
    return Balance(
        AccountId(found["account_id"]),
        found["client_id"],
        TransferId(found["transfer_id"]),
        Money(found["balance_unscaled"], found["balance_scale"]),
        found["version"],
    )


def _write(schema: Schema, id_: SchemaId, fields: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(_FRAME.pack(0, id_))
    fastavro.schemaless_writer(out, schema, fields)
    return out.getvalue()


def encode_transfer(record: Transfer, id_: SchemaId) -> bytes:
    return _write(
        TRANSFER,
        id_,
        {
            "id": record.id,
            "account_id": record.account,
            "amount_unscaled": record.amount.unscaled,
            "amount_scale": record.amount.scale,
            "transfer_TS": record.time_ms,
        },
    )


def encode_balance(record: Balance, id_: SchemaId) -> bytes:
    return _write(
        BALANCE,
        id_,
        {
            "account_id": record.account,
            "client_id": record.client_id,
            "transfer_id": record.transfer_id,
            "balance_unscaled": record.amount.unscaled,
            "balance_scale": record.amount.scale,
            "version": record.version,
        },
    )
