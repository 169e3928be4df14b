"""Kafka values in JSON: an object with the fields of the Avro record. Other fields are ignored.

The texts of decode errors are stored as reasons in the quarantine.
"""

from msgspec import DecodeError as _JsonError
from msgspec import Struct, json

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money


class _Transfer(Struct):
    id: str
    account_id: str
    amount_unscaled: int
    amount_scale: int
    transfer_TS: int  # noqa: N815 - the field's name in the Avro record


class _Balance(Struct):
    account_id: str
    client_id: str
    transfer_id: str
    balance_unscaled: int
    balance_scale: int
    version: int


_transfer_decoder, _balance_decoder = json.Decoder(_Transfer), json.Decoder(_Balance)


def decode_transfer(value: bytes) -> Transfer:
    """Returns the transfer in a JSON value.

    Raises:
        DecodeError: `value` is not a JSON object with the fields of a transfer.
    """
    try:
        fields = _transfer_decoder.decode(value)
    except (_JsonError, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("not a transfer in JSON") from cause
    amount = Money(fields.amount_unscaled, fields.amount_scale)
    return Transfer(TransferId(fields.id), AccountId(fields.account_id), amount, fields.transfer_TS)


def decode_balance(value: bytes) -> Balance:
    """Returns the balance in a JSON value.

    Raises:
        DecodeError: `value` is not a JSON object with the fields of a balance.
    """
    try:
        fields = _balance_decoder.decode(value)
    except (_JsonError, UnicodeDecodeError, RecursionError) as cause:
        raise DecodeError("not a balance in JSON") from cause
    return Balance(
        AccountId(fields.account_id),
        fields.client_id,
        TransferId(fields.transfer_id),
        Money(fields.balance_unscaled, fields.balance_scale),
        fields.version,
    )


def encode_transfer(record: Transfer) -> bytes:
    """Returns a transfer as a JSON value."""
    return json.encode(avro.transfer_fields(record))


def encode_balance(record: Balance) -> bytes:
    """Returns a balance as a JSON value."""
    return json.encode(avro.balance_fields(record))
