"""The schema registry as files: which writer schema an id means, and which id we write with."""

from collections.abc import Iterable
from typing import Protocol

from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import Schema, SchemaId
from livebalance.wire.kafka.codec import Kind, SchemaIds

TRANSFER_ID = SchemaId(1)
BALANCE_ID = SchemaId(2)


class SchemaRegistry(SchemaIds, Protocol):
    """What is known is looked up at once; what is not has to be learnt first."""

    async def learn(self, values: Iterable[bytes | None]) -> None:
        """Asks for the schemas of these values. Raises RegistryAwayError."""

    async def register(self, topic: str, kind: Kind) -> None:
        """Ours, before anything is written to a topic. Raises RegistryAwayError, RefusedError."""


class FileRegistry:
    """Knows the schemas that come with the code. Never away, so an unknown id is poison: DecodeError."""

    def __init__(self) -> None:
        self._schemas = {TRANSFER_ID: avro.TRANSFER, BALANCE_ID: avro.BALANCE}

    def writer(self, id_: SchemaId) -> Schema:
        try:
            return self._schemas[id_]
        except KeyError as cause:
            raise DecodeError(f"unknown schema id {id_}") from cause

    def ours(self, kind: Kind) -> SchemaId:
        return TRANSFER_ID if kind == "transfer" else BALANCE_ID

    async def learn(self, values: Iterable[bytes | None]) -> None:
        """It knows what it knows."""

    async def register(self, topic: str, kind: Kind) -> None:
        """Files are registered by being here."""
