"""Kafka values in JSON: an object with the fields of the Avro record. Others are passed over."""

from msgspec import DecodeError as _NotJson
from msgspec import Struct, json, structs

from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance, Transfer


class _Transfer(Struct):
    id: str
    account_id: str
    amount_unscaled: int
    amount_scale: int
    transfer_TS: int  # noqa: N815 - as the Avro record spells it


class _Balance(Struct):
    account_id: str
    client_id: str
    transfer_id: str
    balance_unscaled: int
    balance_scale: int
    version: int


_transfers, _balances = json.Decoder(_Transfer), json.Decoder(_Balance)


def decode_transfer(value: bytes) -> Transfer:
    """Raises DecodeError."""
    try:
        return avro.transfer_of(structs.asdict(_transfers.decode(value)))
    except (_NotJson, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("not a transfer in JSON") from cause


def decode_balance(value: bytes) -> Balance:
    """Raises DecodeError."""
    try:
        return avro.balance_of(structs.asdict(_balances.decode(value)))
    except (_NotJson, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("not a balance in JSON") from cause


def encode_transfer(record: Transfer) -> bytes:
    return json.encode(avro.fields_of_transfer(record))


def encode_balance(record: Balance) -> bytes:
    return json.encode(avro.fields_of_balance(record))
