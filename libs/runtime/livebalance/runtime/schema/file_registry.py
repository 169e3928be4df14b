"""A schema registry without a server: it has the schemas that come with the code."""

from collections.abc import Iterable
from typing import Protocol

from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import Schema, SchemaId
from livebalance.wire.kafka.codec import Kind, KnownSchemas

TRANSFER_ID = SchemaId(1)
BALANCE_ID = SchemaId(2)


class SchemaRegistry(KnownSchemas, Protocol):
    """Looks up schemas without waiting. Unknown schemas are fetched before (decision 15)."""

    def knows_schemas(self, values: Iterable[bytes | None]) -> bool:
        """Returns whether `fetch_schemas` has nothing to fetch for these values."""

    async def fetch_schemas(self, values: Iterable[bytes | None]) -> None:
        """Fetches the schemas of values that are not known yet. Raises RegistryUnavailableError."""

    async def register(self, topic: str, kind: Kind) -> None:
        """Registers our schema for a topic. Raises RegistryUnavailableError or StartupError."""


class FileRegistry:
    """The schemas that come with the code. A value with another id cannot be decoded."""

    def __init__(self) -> None:
        self._schemas = {TRANSFER_ID: avro.TRANSFER_SCHEMA, BALANCE_ID: avro.BALANCE_SCHEMA}

    def writer_schema(self, id_: SchemaId) -> Schema:
        """Returns the schema with this id. Raises DecodeError if there is none."""
        try:
            return self._schemas[id_]
        except KeyError as cause:
            raise DecodeError(f"unknown schema id {id_}") from cause

    def own_id(self, kind: Kind) -> SchemaId:
        """Returns the id of the schema that values of this kind are written with."""
        return TRANSFER_ID if kind == "transfer" else BALANCE_ID

    def knows_schemas(self, values: Iterable[bytes | None]) -> bool:
        """Returns True: there are no further schemas."""
        return True

    async def fetch_schemas(self, values: Iterable[bytes | None]) -> None:
        """Does nothing: there are no further schemas."""

    async def register(self, topic: str, kind: Kind) -> None:
        """Does nothing: both schemas are known."""
