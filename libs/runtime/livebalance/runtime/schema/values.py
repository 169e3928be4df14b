"""The values of the two topics, as the settings say they are written."""

from collections.abc import Iterable

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.schema.file_registry import FileRegistry, SchemaRegistry
from livebalance.runtime.schema.http_registry import HttpRegistry
from livebalance.wire.kafka.codec import AVRO, JSON, Codec, ConfluentCodec, Kind


class Values:
    """`codec` reads and writes at once; what it must know of schemas is learnt before."""

    def __init__(self, settings: ServiceSettings) -> None:
        url = settings.schema_registry
        registry: SchemaRegistry = (
            HttpRegistry(url.get_secret_value(), settings.schema_registry_ca) if url else FileRegistry()
        )
        plain = {"avro": AVRO, "json": JSON}.get(settings.value_format)
        self.codec: Codec = plain or ConfluentCodec(registry)
        self._topics: dict[Kind, str] = {
            "transfer": settings.transfers_topic,
            "balance": settings.balances_topic,
        }
        self._registry = None if plain else registry

    async def learn(self, values: Iterable[bytes | None]) -> None:
        """Before these are read. Raises RegistryAwayError: they are to wait."""
        if self._registry:
            await self._registry.learn(values)

    async def begin_writing(self, *kinds: Kind) -> None:
        """Before any of these is written. Raises RegistryAwayError, and RefusedError if it never can be."""
        if self._registry:
            for kind in kinds:
                await self._registry.register(self._topics[kind], kind)
