"""`livebalance quarantine replay`: the owner of its lane applies a record that was put aside."""

import json
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from livebalance.projector.errors import CommitUnknownError
from livebalance.projector.postgres import replay
from livebalance.projector.postgres.store import Store
from livebalance.readmodel.rows import BatchRows
from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.runtime.schema.http_registry import RegistryUnavailableError
from livebalance.wire.delta import split_delta_frame
from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import Schema, SchemaId
from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.cli.operator import Said, said
from tests.integration.projector.bell import Bell, hearing
from tests.integration.projector.test_crash import another
from tests.integration.projector.test_takeover import Sleeper
from tests.integration.projector.world import World, balance, history, reached, transfer

NEW = SchemaId(7)
HELD = "select count(*)::int from quarantine where state = 'held'"
STATES = "select string_agg(state, ',' order by id) from quarantine"
LANES = (
    "select lane, transfers_next, transfers_last, transfers_fingerprint, balances_next, balances_last,"
    " balances_fingerprint, last_event_at, halted_why from lane order by lane"
)


class Registry:
    """Nobody has registered the new schema, until `knows` it is said."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.knows = self.is_away = False
        writer = FileRegistry.writer_schema

        def look_up(files: FileRegistry, id_: SchemaId) -> Schema:
            if id_ != NEW:
                return writer(files, id_)
            if self.knows:
                return avro.TRANSFER_SCHEMA
            raise DecodeError(f"unknown schema id {id_}")

        async def fetch_schemas(_: FileRegistry, values: Sequence[bytes | None]) -> None:
            if self.is_away and any(value and avro.schema_id(value) == NEW for value in values):
                raise RegistryUnavailableError("gone")

        patch.setattr(FileRegistry, "writer_schema", look_up)
        patch.setattr(FileRegistry, "fetch_schemas", fetch_schemas)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    return Registry(monkeypatch)


async def write(world: World, fed: Sequence[Transfer | Balance], *new: str) -> None:
    """In their order, to lane 0; the transfers of these ids by the new schema."""
    for record in fed:
        if isinstance(record, Transfer) and record.id in new:
            value = avro.encode_transfer(record, NEW)
            await world.write_raw(world.topics.transfers, record.account.encode(), value, 0)
        else:
            await world.write([record], 0)


async def replayed(world: World, *words: object) -> Said:
    environment = {"LIVEBALANCE_POSTGRES": world.database.url("operator")}
    return await said(environment, "quarantine", "replay", *map(str, words), "--why", "the schema is there")


@pytest.fixture
async def bell(world: World) -> AsyncIterator[Bell]:
    async with hearing(world.redis, world.prefix) as bell:
        yield bell


async def test_a_record_is_applied_as_if_it_had_come_in_time(
    world: World, registry: Registry, bell: Bell
) -> None:
    fed = history("alice", [100, 50])
    async with world.running():
        await write(world, fed, "t-2")
        await world.until("select revision::int from balance", 4)
        await world.until(HELD, 1)
        assert (await world.accounts())["alice"]["drift"] is None
        lanes = await world.ask(LANES)
        registry.knows = True
        done = await replayed(world, 1)
        assert (done.code, done.err) == (0, "")
        await bell.reaches("alice", 5)
        assert await world.ask(LANES) == lanes
    await world.is_exact(fed)
    [row] = await world.ask("select * from transfer where transfer_id = 't-2'")
    [put] = await world.ask("select * from quarantine")
    assert (row["topic"], row["lane"], row["source_offset"]) == (world.topics.transfers, 0, 1)
    assert (row["revision"], put["state"], put["reason"]) == (5, "applied", "unknown schema id 7")
    assert row["recorded_at"] >= put["kafka_time"]
    last = bell.deltas[-1][1]
    shown = json.loads(split_delta_frame(last.text).transfers)
    assert (last.from_, last.to, shown["id"]) == (4, 5, "t-2")
    assert shown["source"] == f"{world.topics.transfers}/0@1"
    [note] = await world.ask("select what, lane, was, became, by, why from intervention")
    was = f"{world.topics.transfers}/0@1: unknown schema id 7"
    assert tuple(note) == ("quarantine", 0, was, None, "operator", "the schema is there")


async def test_twice_does_nothing_more(world: World, registry: Registry) -> None:
    fed = history("alice", [100, 50])
    async with world.running():
        await write(world, fed, "t-2")
        await world.until(HELD, 1)
        registry.knows = True
        await replayed(world, 1, 1)
        await world.until(STATES, "applied")
        again = await replayed(world, 1)
        assert again.err == "livebalance: nothing is replayed: record 1 is applied, not held\n"
        await world.ask("update quarantine set state = 'replay'")  # as an operator could by hand
        await world.until(STATES, "duplicate")
    await world.is_exact(fed)


async def test_refused_again_it_is_held_again_and_counts_for_nothing(world: World) -> None:
    async with world.running(max_consecutive_rejects=1):
        await world.write_raw(world.topics.transfers, b"alice", b"bad", 0)
        await world.until(HELD, 1)
        await world.ask("update quarantine set reason = 'as was said before'")
        await replayed(world, 1)
        await world.until("select reason from quarantine where state = 'held'", "not Confluent-framed")
        await write(world, [transfer("alice", "t", 1)])
        await world.until("select count(*)::int from transfer", 1)
        assert await world.ask("select 1 from lane where halted_why is not null") == []
        assert len(await world.ask("select from quarantine")) == 1


async def test_an_older_balance_is_stale_and_disputes_nothing(world: World) -> None:
    fed = history("alice", [100, 50])
    async with world.running():
        await write(world, fed)
        await world.applied(fed)
        await world.write_raw(world.topics.balances, b"alice", b"bad", 0)
        await world.until(HELD, 1)
        old = avro.encode_balance(balance("alice", 1, "t-gone", 7), SchemaId(2))
        await world.ask("update quarantine set value = $1, source_offset = 1", old)
        await replayed(world, 1)
        await world.until(STATES, "stale")
    await world.is_exact(fed)


async def test_a_fenced_owner_applies_nothing(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = history("alice", [100])[1:2]
    async with world.running():
        await write(world, fed, "t-1")
        await world.until(HELD, 1)
    registry.knows = True
    await replayed(world, 1)
    sleeper = Sleeper(monkeypatch, "zombie")
    async with world.running("zombie"):
        await sleeper.asleep.wait()
        await world.ask("update lane set generation = generation + 1")
        [[generation]] = await world.ask("select max(generation) from lane")
        sleeper.wake.set()
        await world.until(f"select bool_and(generation > {generation}) from lane", True)  # claimed again
        assert await world.ask("select from balance") == []
        assert (await world.ask(STATES))[0][0] == "replay"
        sleeper.over.set()
        await world.until(STATES, "applied")
    assert await world.transfer_ids("alice") == ["t-1"]


async def test_of_a_commit_in_doubt_nothing_is_told_before_it_is_known(
    world: World, registry: Registry, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = history("alice", [100, 50])
    doubts = [CommitUnknownError("the connection died inside COMMIT")]
    write_ = Store.write

    async def doubtful(store: Store, work: BatchRows) -> None:
        if work.replayed and doubts:
            raise doubts.pop()
        await write_(store, work)

    monkeypatch.setattr(Store, "write", doubtful)
    async with world.running():
        await write(world, fed, "t-2")
        await world.until(HELD, 1)
        await world.applied(fed[:-1])
        registry.knows = True
        await replayed(world, 1)
        await world.until(STATES, "applied")
        await write(world, [transfer("alice", "t-3", 1)])
        await bell.reaches("alice", 6)
    assert doubts == []
    assert bell.chain("alice")[-2:] == [(4, 5), (5, 6)]
    assert [to for _, to in bell.chain("alice")].count(5) == 1


@pytest.mark.parametrize(("point", "then"), [("before_commit", "replay"), ("after_commit", "applied")])
async def test_killed_while_it_applies_it(world: World, bell: Bell, point: str, then: str) -> None:
    fed = history("alice", [100, 50])
    async with world.running():
        await write(world, [record for record in fed if not isinstance(record, Transfer)])
        await world.write_raw(world.topics.transfers, b"alice", b"bad", 0)
        await world.until(HELD, 1)
        await world.applied(fed[::2])
    await world.ask("update quarantine set value = $1", avro.encode_transfer(fed[1], SchemaId(1)))  # type: ignore[arg-type]
    await replayed(world, 1)
    victim = world.start(crash_at=f"{point}:1", projector_group=another(world))
    await reached(lambda: victim.exit_code == -signal.SIGKILL)
    assert (await world.ask(STATES))[0][0] == then
    world.start("projector-2", projector_group=f"third-{world.prefix}")
    await world.until(STATES, "applied")
    await write(world, fed[3:4])
    await bell.reaches("alice", 5)
    assert bell.chain("alice")[-1] == (4, 5)
    assert await world.transfer_ids("alice") == ["t-1", "t-2"]


async def test_of_a_halted_lane_it_is_applied_before_what_comes_after_it(
    world: World, registry: Registry
) -> None:
    fed = [transfer("alice", f"t-{number}", number) for number in (1, 2, 3)]
    environment = {"LIVEBALANCE_POSTGRES": world.database.url("operator")}
    async with world.running(max_consecutive_rejects=1):
        await write(world, fed, "t-1", "t-2", "t-3")
        await world.until("select count(*)::int from lane where halted_why is not null", 1)
        registry.knows = True
        await replayed(world, 1)
        assert (await world.ask(STATES))[0][0] == "replay"
        await said(environment, "lane", "go-on", "0", "--why", "the schema is there")
        await world.until("select count(*)::int from transfer", 3)
    assert await world.transfer_ids("alice") == ["t-1", "t-2", "t-3"]


async def test_what_was_held_of_an_erased_account_is_not_applied(world: World, registry: Registry) -> None:
    async with world.running():
        await write(world, [transfer("alice", "t-1", 1), transfer("bob", "t-1", 1)], "t-1")
        await world.until(HELD, 2)
        await world.write_raw(world.topics.balances, b"alice", None, 0)
        await world.until(STATES, "erased,held")
        registry.knows = True
        done = await replayed(world, 1, 2)
        assert done.err == "livebalance: nothing is replayed: record 1 is erased, not held\n"
        await replayed(world, 2)
        await world.until(STATES, "erased,applied")
    assert [await world.transfer_ids(name) for name in ("alice", "bob")] == [[], ["t-1"]]


async def test_while_the_registry_is_away_it_waits_and_nothing_else_does(
    world: World, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_RETRY_SECONDS", 0.2)
    async with world.running():
        await write(world, [transfer("alice", "t-1", 1)], "t-1")
        await world.until(HELD, 1)
        registry.knows = registry.is_away = True
        [[generations]] = await world.ask("select sum(generation) from lane")
        await replayed(world, 1)
        for number in range(3):
            await write(world, [transfer("bob", f"t-{number}", 1)])
            await world.until("select count(*)::int from transfer", number + 1)
        assert (await world.ask(STATES))[0][0] == "replay"
        assert (await world.ask("select sum(generation) from lane"))[0][0] == generations
        registry.is_away = False
        await world.until(STATES, "applied")
