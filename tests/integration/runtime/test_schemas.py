"""A registry over HTTP: what it says is kept, what it does not know is poison, while it is away all waits."""

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
from tests.integration.runtime.registry import Registry, serving

TRANSFER = Transfer(TransferId("t"), AccountId("a"), Money(150, 2), 7)
LATER = json.loads(avro.TRANSFER_TEXT)
LATER["fields"].append({"name": "note", "type": "string", "default": ""})


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    there = Registry()
    async with serving(there):
        yield there


def values(registry: Registry) -> Values:
    return Values(ServiceSettings(schema_registry=registry.url, transfers_topic="mine"))  # type: ignore[arg-type]


async def test_what_one_writes_another_reads(registry: Registry) -> None:
    writer, reader = values(registry), values(registry)
    await writer.begin_writing("transfer", "balance")
    value = writer.codec.write_transfer(TRANSFER)
    assert avro.schema_id(value) == 101
    with pytest.raises(DecodeError, match="unknown schema id 101"):
        reader.codec.transfer(value)
    await reader.learn([value, None, b"", b"\x00\x00\x00\x00"])
    assert reader.codec.transfer(value) == TRANSFER
    assert registry.asked == [
        "POST /subjects/mine-value/versions",
        "POST /subjects/account-balances-value/versions",
        "GET /schemas/ids/101",
    ]


async def test_a_later_schema_is_read_as_ours(registry: Registry) -> None:
    id_ = registry.add(schema=json.dumps(LATER))
    value = avro.encode_transfer(TRANSFER, SchemaId(id_)) + b"\x0anote!"
    reader = values(registry)
    await reader.learn([value])
    assert reader.codec.transfer(value) == TRANSFER


async def test_many_who_want_one_schema_ask_once(registry: Registry) -> None:
    here = HttpRegistry(registry.url)
    value = avro.encode_transfer(TRANSFER, SchemaId(registry.add(schema=avro.TRANSFER_TEXT)))
    await asyncio.gather(*(here.learn([value] * 9) for _ in range(50)))
    await here.learn([value])
    assert registry.asked == ["GET /schemas/ids/101"]


async def test_what_nobody_registered_is_poison_and_asked_for_once(registry: Registry) -> None:
    here = HttpRegistry(registry.url)
    value = avro.encode_transfer(TRANSFER, SchemaId(5))
    for _ in range(3):
        await here.learn([value])
        with pytest.raises(DecodeError, match="unknown schema id 5"):
            ConfluentCodec(here).transfer(value)
    assert registry.asked == ["GET /schemas/ids/5"]


@pytest.mark.parametrize(
    "schema",
    [
        {"schema": "{}", "schemaType": "JSON"},
        {"schema": avro.TRANSFER_TEXT, "references": [{"name": "other"}]},
        {"schema": "no schema"},
        {"schema": '"string"'},
        {},
    ],
)
async def test_a_schema_of_no_use_is_poison(registry: Registry, schema: dict[str, object]) -> None:
    here = HttpRegistry(registry.url)
    value = avro.encode_transfer(TRANSFER, SchemaId(registry.add(**schema)))
    await here.learn([value])
    with pytest.raises(DecodeError):
        ConfluentCodec(here).transfer(value)


@pytest.mark.parametrize("status", [500, 503, 401, 302])
async def test_while_it_is_away_records_wait(registry: Registry, status: int) -> None:
    here = HttpRegistry(registry.url)
    value = avro.encode_transfer(TRANSFER, SchemaId(registry.add(schema=avro.TRANSFER_TEXT)))
    registry.status = status
    with pytest.raises(RegistryUnavailableError):
        await here.learn([value])
    with pytest.raises(RegistryUnavailableError):
        await here.register("mine", "transfer")
    registry.status = 0
    await here.learn([value])
    assert ConfluentCodec(here).transfer(value) == TRANSFER


async def test_nobody_listens() -> None:
    with pytest.raises(RegistryUnavailableError):
        await HttpRegistry(Registry().url).register("mine", "transfer")


@pytest.mark.parametrize("status", [409, 422, 404])
async def test_our_schema_is_not_taken(registry: Registry, status: int) -> None:
    registry.status = status
    with pytest.raises(StartupError, match="our schema"):
        await HttpRegistry(registry.url).register("mine", "transfer")


async def test_it_is_told_who_asks(registry: Registry) -> None:
    here = HttpRegistry(registry.url.replace("//", "//reader:of%20schemas@"))
    await here.register("mine", "transfer")
    assert registry.users == {"reader:of schemas"}
