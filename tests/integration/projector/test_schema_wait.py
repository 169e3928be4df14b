"""A lane waits for the schemas of its own records. The other lanes go on."""

import pytest

from livebalance.runtime.schema import waiting_lanes
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import SchemaId
from tests.integration.projector.pipeline import Pipeline, balance, transfer
from tests.integration.runtime.registry_server import RegistryServer, running

TRANSFERS = "select count(*)::int from transfer where lane = "
GENERATIONS = "select sum(generation)::int from lane"
UNAVAILABLE = 503


class Writer:
    """Writes records whose values name schemas of the registry."""

    def __init__(self, pipeline: Pipeline, registry: RegistryServer) -> None:
        self._pipeline = pipeline
        self._transfer_id = SchemaId(registry.add(schema=avro.TRANSFER_SCHEMA_TEXT))
        self._balance_id = SchemaId(registry.add(schema=avro.BALANCE_SCHEMA_TEXT))

    async def write_transfer(self, lane: int, account: str, id_: str, schema: SchemaId | None = None) -> None:
        value = avro.encode_transfer(transfer(account, id_, 100), schema or self._transfer_id)
        await self._pipeline.write_raw(self._pipeline.topics.transfers, account.encode(), value, lane)

    async def write_balance(self, lane: int, account: str, version: int, id_: str) -> None:
        value = avro.encode_balance(balance(account, version, id_, 100 * version), self._balance_id)
        await self._pipeline.write_raw(self._pipeline.topics.balances, account.encode(), value, lane)


async def test_lane_with_an_unknown_schema_waits_alone_while_the_registry_is_unavailable(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_lanes, "_RETRY_SECONDS", 0.2)
    registry = RegistryServer()
    writer = Writer(pipeline, registry)
    new = SchemaId(registry.add(schema=avro.TRANSFER_SCHEMA_TEXT, new=True))
    async with running(registry), pipeline.running(schema_registry=registry.url):
        for lane, account in enumerate(("alice", "bob")):
            await writer.write_balance(lane, account, 0, "")
            await writer.write_transfer(lane, account, "t-0")
            await pipeline.wait_for(TRANSFERS + str(lane), 1)
        registry.status = UNAVAILABLE
        [[generations]] = await pipeline.query(GENERATIONS)
        await writer.write_transfer(0, "alice", "t-1", new)
        await writer.write_transfer(0, "alice", "t-2")
        for version in range(1, 5):
            await writer.write_transfer(1, "bob", f"t-{version}")
            await writer.write_balance(1, "bob", version, f"t-{version}")
            await pipeline.wait_for("select version::int from balance where account_id = 'bob'", version)
        assert await pipeline.query(TRANSFERS + "0") == [(1,)]
        assert await pipeline.query(GENERATIONS) == [(generations,)]
        assert await pipeline.query("select from quarantine") == []
        registry.status = 0
        await pipeline.wait_for(TRANSFERS + "0", 3)
    assert await pipeline.transfer_ids("alice") == ["t-0", "t-1", "t-2"]


async def test_waiting_lane_is_not_complete(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `as_of` stays before the record that waits, while that of the other lane advances."""
    monkeypatch.setattr(waiting_lanes, "_RETRY_SECONDS", 0.2)
    registry = RegistryServer()
    writer = Writer(pipeline, registry)
    async with running(registry), pipeline.running(schema_registry=registry.url):
        await writer.write_transfer(0, "alice", "t-0")
        await writer.write_transfer(1, "bob", "t-0")
        await pipeline.wait_for("select count(*)::int from transfer", 2)
        registry.status = UNAVAILABLE
        await writer.write_transfer(0, "alice", "t-1", SchemaId(999))
        [[now]] = await pipeline.query("select now()")
        later = f"select as_of > timestamptz '{now}' + interval '2 s' from lane where lane = "
        await pipeline.wait_for(later + "1", True)
        assert await pipeline.query(f"select as_of < '{now}' from lane where lane = 0") == [(True,)]
        registry.status = 0
        await pipeline.wait_for("select reason from quarantine", "unknown schema id 999")
        await pipeline.wait_for(later + "0", True)
