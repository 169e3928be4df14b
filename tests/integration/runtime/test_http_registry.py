"""The client of a schema registry: it caches schemas, rejects unknown ids, and raises if unavailable."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import StartupError
from livebalance.runtime.schema.http_registry import HttpRegistry, RegistryUnavailableError
from livebalance.runtime.schema.values import Values
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import SchemaId
from livebalance.wire.kafka.codec import ConfluentCodec
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money
from tests.integration.runtime.registry_server import RegistryServer, running

TRANSFER = Transfer(TransferId("t"), AccountId("a"), Money(150, 2), 7)
LATER = json.loads(avro.TRANSFER_SCHEMA_TEXT)
LATER["fields"].append({"name": "note", "type": "string", "default": ""})


@pytest.fixture
async def registry() -> AsyncIterator[RegistryServer]:
    server = RegistryServer()
    async with running(server):
        yield server


def values(registry: RegistryServer) -> Values:
    return Values(ServiceSettings(schema_registry=registry.url, transfers_topic="mine"))  # type: ignore[arg-type]


async def test_value_of_one_service_is_read_by_another(registry: RegistryServer) -> None:
    writer, reader = values(registry), values(registry)
    await writer.register_schemas("transfer", "balance")
    value = writer.codec.encode_transfer(TRANSFER)
    assert avro.schema_id(value) == 101
    with pytest.raises(DecodeError, match="unknown schema id 101"):
        reader.codec.decode_transfer(value)
    await reader.fetch_schemas([value, None, b"", b"\x00\x00\x00\x00"])
    assert reader.codec.decode_transfer(value) == TRANSFER
    assert registry.requests == [
        "POST /subjects/mine-value/versions",
        "POST /subjects/account-balances-value/versions",
        "GET /schemas/ids/101",
    ]


async def test_value_with_a_later_schema_is_read_by_our_schema(registry: RegistryServer) -> None:
    id_ = registry.add(schema=json.dumps(LATER))
    value = avro.encode_transfer(TRANSFER, SchemaId(id_)) + b"\x0anote!"
    reader = values(registry)
    await reader.fetch_schemas([value])
    assert reader.codec.decode_transfer(value) == TRANSFER


async def test_concurrent_fetches_of_a_schema_make_one_request(registry: RegistryServer) -> None:
    client = HttpRegistry(registry.url)
    value = avro.encode_transfer(TRANSFER, SchemaId(registry.add(schema=avro.TRANSFER_SCHEMA_TEXT)))
    await asyncio.gather(*(client.fetch_schemas([value] * 9) for _ in range(50)))
    await client.fetch_schemas([value])
    assert registry.requests == ["GET /schemas/ids/101"]


async def test_unknown_schema_is_rejected_and_requested_once(registry: RegistryServer) -> None:
    client = HttpRegistry(registry.url)
    value = avro.encode_transfer(TRANSFER, SchemaId(5))
    for _ in range(3):
        await client.fetch_schemas([value])
        with pytest.raises(DecodeError, match="unknown schema id 5"):
            ConfluentCodec(client).decode_transfer(value)
    assert registry.requests == ["GET /schemas/ids/5"]


@pytest.mark.parametrize(
    "schema",
    [
        {"schema": "{}", "schemaType": "JSON"},
        {"schema": avro.TRANSFER_SCHEMA_TEXT, "references": [{"name": "other"}]},
        {"schema": "no schema"},
        {"schema": '"string"'},
        {},
    ],
)
async def test_unusable_schema_is_rejected(registry: RegistryServer, schema: dict[str, object]) -> None:
    client = HttpRegistry(registry.url)
    value = avro.encode_transfer(TRANSFER, SchemaId(registry.add(**schema)))
    await client.fetch_schemas([value])
    with pytest.raises(DecodeError):
        ConfluentCodec(client).decode_transfer(value)


@pytest.mark.parametrize("status", [500, 503, 401, 302])
async def test_unavailable_registry_raises_and_is_asked_again(registry: RegistryServer, status: int) -> None:
    client = HttpRegistry(registry.url)
    value = avro.encode_transfer(TRANSFER, SchemaId(registry.add(schema=avro.TRANSFER_SCHEMA_TEXT)))
    registry.status = status
    with pytest.raises(RegistryUnavailableError):
        await client.fetch_schemas([value])
    with pytest.raises(RegistryUnavailableError):
        await client.register("mine", "transfer")
    registry.status = 0
    await client.fetch_schemas([value])
    assert ConfluentCodec(client).decode_transfer(value) == TRANSFER


async def test_registry_that_does_not_listen_is_unavailable() -> None:
    with pytest.raises(RegistryUnavailableError):
        await HttpRegistry(RegistryServer().url).register("mine", "transfer")


@pytest.mark.parametrize("status", [409, 422, 404])
async def test_rejected_schema_is_a_startup_error(registry: RegistryServer, status: int) -> None:
    registry.status = status
    with pytest.raises(StartupError, match="our schema"):
        await HttpRegistry(registry.url).register("mine", "transfer")


async def test_credentials_of_the_url_are_sent(registry: RegistryServer) -> None:
    client = HttpRegistry(registry.url.replace("//", "//reader:of%20schemas@"))
    await client.register("mine", "transfer")
    assert registry.users == {"reader:of schemas"}


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_id_that_the_registry_rejects_is_unknown(registry: RegistryServer, status: int) -> None:
    client, value = HttpRegistry(registry.url), avro.encode_transfer(TRANSFER, SchemaId(2**32 - 1))
    registry.status = status
    assert not client.knows_schemas([value])
    await client.fetch_schemas([value])
    assert client.knows_schemas([value])
    with pytest.raises(DecodeError, match="unknown schema id 4294967295"):
        client.writer_schema(SchemaId(2**32 - 1))
