"""Encodes and decodes the values of the two topics: Confluent-framed Avro, bare Avro, or JSON."""

from collections.abc import Callable
from typing import Literal, Protocol

from livebalance.wire.kafka import avro, json_values
from livebalance.wire.kafka.avro import Schema, SchemaId
from livebalance.wire.kafka.record import Balance, Transfer

Kind = Literal["transfer", "balance"]


class Codec(Protocol):
    """Converts records to values of a format. Decoding raises DecodeError and nothing else."""

    def decode_transfer(self, value: bytes) -> Transfer:
        """Returns the transfer in a value of the topic of transfers."""

    def decode_balance(self, value: bytes) -> Balance:
        """Returns the balance in a value of the topic of balances."""

    def encode_transfer(self, record: Transfer) -> bytes:
        """Returns the value of a transfer."""

    def encode_balance(self, record: Balance) -> bytes:
        """Returns the value of a balance."""


class KnownSchemas(Protocol):
    """Schemas of a registry that were fetched before (decision 15)."""

    def writer_schema(self, id_: SchemaId) -> Schema:
        """Returns the schema with this id.

        Raises:
            DecodeError: The registry has no schema with this id.
        """

    def own_id(self, kind: Kind) -> SchemaId:
        """Returns the registry's id of the schema that Livebalance writes with."""


class ConfluentCodec:
    """Codec for Confluent-framed Avro: each value names the schema that it was written with."""

    def __init__(self, schemas: KnownSchemas) -> None:
        self._schemas = schemas

    def decode_transfer(self, value: bytes) -> Transfer:
        """Returns the transfer in a framed value.

        Raises:
            DecodeError: `value` is not a framed transfer, or the registry does not know its schema.
        """
        return avro.decode_transfer(value, self._schemas.writer_schema)

    def decode_balance(self, value: bytes) -> Balance:
        """Returns the balance in a framed value.

        Raises:
            DecodeError: `value` is not a framed balance, or the registry does not know its schema.
        """
        return avro.decode_balance(value, self._schemas.writer_schema)

    def encode_transfer(self, record: Transfer) -> bytes:
        """Returns the framed value of a transfer."""
        return avro.encode_transfer(record, self._schemas.own_id("transfer"))

    def encode_balance(self, record: Balance) -> bytes:
        """Returns the framed value of a balance."""
        return avro.encode_balance(record, self._schemas.own_id("balance"))


class PlainCodec:
    """Codec for values that name no schema, made of four functions."""

    def __init__(
        self,
        decode_transfer: Callable[[bytes], Transfer],
        decode_balance: Callable[[bytes], Balance],
        encode_transfer: Callable[[Transfer], bytes],
        encode_balance: Callable[[Balance], bytes],
    ) -> None:
        self.decode_transfer, self.decode_balance = decode_transfer, decode_balance
        self.encode_transfer, self.encode_balance = encode_transfer, encode_balance


AVRO: Codec = PlainCodec(
    avro.decode_bare_transfer, avro.decode_bare_balance, avro.encode_bare_transfer, avro.encode_bare_balance
)
JSON: Codec = PlainCodec(
    json_values.decode_transfer,
    json_values.decode_balance,
    json_values.encode_transfer,
    json_values.encode_balance,
)
