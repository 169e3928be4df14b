"""How the values of the two topics are written: in Confluent's frame, as bare Avro, or as JSON."""

from collections.abc import Callable
from typing import Literal, Protocol

from livebalance.wire.kafka import avro, json_values
from livebalance.wire.kafka.avro import Schema, SchemaId
from livebalance.wire.kafka.record import Balance, Transfer

Kind = Literal["transfer", "balance"]


class Codec(Protocol):
    """Reading raises DecodeError or nothing."""

    def transfer(self, value: bytes) -> Transfer: ...
    def balance(self, value: bytes) -> Balance: ...
    def write_transfer(self, record: Transfer) -> bytes: ...
    def write_balance(self, record: Balance) -> bytes: ...


class SchemaIds(Protocol):
    """What a registry of schemas knows by now."""

    def writer(self, id_: SchemaId) -> Schema:
        """Raises DecodeError when nobody ever registered this id."""

    def ours(self, kind: Kind) -> SchemaId:
        """Of the schema that we write with."""


class ConfluentCodec:
    """Confluent's frame: each value names the schema that it was written by."""

    def __init__(self, known: SchemaIds) -> None:
        self._known = known

    def transfer(self, value: bytes) -> Transfer:
        return avro.decode_transfer(value, self._known.writer)

    def balance(self, value: bytes) -> Balance:
        return avro.decode_balance(value, self._known.writer)

    def write_transfer(self, record: Transfer) -> bytes:
        return avro.encode_transfer(record, self._known.ours("transfer"))

    def write_balance(self, record: Balance) -> bytes:
        return avro.encode_balance(record, self._known.ours("balance"))


class PlainCodec:
    """Values that name no schema: all are of one."""

    def __init__(
        self,
        transfer: Callable[[bytes], Transfer],
        balance: Callable[[bytes], Balance],
        write_transfer: Callable[[Transfer], bytes],
        write_balance: Callable[[Balance], bytes],
    ) -> None:
        self.transfer, self.balance = transfer, balance
        self.write_transfer, self.write_balance = write_transfer, write_balance


AVRO: Codec = PlainCodec(
    avro.decode_bare_transfer, avro.decode_bare_balance, avro.encode_bare_transfer, avro.encode_bare_balance
)
JSON: Codec = PlainCodec(
    json_values.decode_transfer,
    json_values.decode_balance,
    json_values.encode_transfer,
    json_values.encode_balance,
)
