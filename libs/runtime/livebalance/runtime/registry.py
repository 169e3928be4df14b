"""The schema registry as files: which writer schema an id means, and which id we write with."""

from livebalance.wire import avro
from livebalance.wire.avro import Schema, SchemaId
from livebalance.wire.errors import DecodeError

TRANSFER_ID = SchemaId(1)
BALANCE_ID = SchemaId(2)


class FileRegistry:
    """Knows the schemas that come with the code. Never away, so an unknown id is poison: DecodeError."""

    def __init__(self) -> None:
        self._schemas = {TRANSFER_ID: avro.TRANSFER, BALANCE_ID: avro.BALANCE}

    def writer(self, id_: SchemaId) -> Schema:
        try:
            return self._schemas[id_]
        except KeyError as cause:
            raise DecodeError(f"unknown schema id {id_}") from cause
