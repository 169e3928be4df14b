"""The codec for values of the two topics, in the format that the settings choose."""

from collections.abc import Iterable

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.schema.file_registry import FileRegistry, SchemaRegistry
from livebalance.wire.kafka.codec import AVRO, JSON, Codec, ConfluentCodec, Kind


class Values:
    """A codec, and the schemas it needs. Schemas are fetched before the codec is used (decision 15)."""

    def __init__(self, settings: ServiceSettings) -> None:
        registry: SchemaRegistry = FileRegistry()
        if url := settings.schema_registry:
            # Its HTTP client is slow to import, and few processes have a registry.
            from livebalance.runtime.schema.http_registry import HttpRegistry  # noqa: PLC0415

            registry = HttpRegistry(url.get_secret_value(), settings.schema_registry_ca)
        plain = {"avro": AVRO, "json": JSON}.get(settings.value_format)
        self.codec: Codec = plain or ConfluentCodec(registry)
        self._topics: dict[Kind, str] = {
            "transfer": settings.transfers_topic,
            "balance": settings.balances_topic,
        }
        self._registry = None if plain else registry

    def knows_schemas(self, values: Iterable[bytes | None]) -> bool:
        """Returns whether these values can be decoded, or rejected, without `fetch_schemas`."""
        return self._registry is None or self._registry.knows_schemas(values)

    async def fetch_schemas(self, values: Iterable[bytes | None]) -> None:
        """Fetches the schemas of values. Called before the values are decoded.

        Raises:
            RegistryUnavailableError: The registry does not answer. The caller retries later.
        """
        if self._registry:
            await self._registry.fetch_schemas(values)

    async def register_schemas(self, *kinds: Kind) -> None:
        """Registers our schemas of these kinds. Called before values of these kinds are encoded.

        Raises:
            RegistryUnavailableError: The registry does not answer. The caller retries later.
            StartupError: The registry rejects the schema.
        """
        if self._registry:
            for kind in kinds:
                await self._registry.register(self._topics[kind], kind)
