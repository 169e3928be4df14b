"""`livebalance quarantine replay`: the owner of the lane applies a quarantined record."""

import json
import signal
from collections.abc import AsyncIterator, Sequence

import pytest

from livebalance.projector.errors import CommitUnknownError
from livebalance.projector.postgres import replay
from livebalance.projector.postgres.store import Store
from livebalance.projector.redis.messages import KeptTotals
from livebalance.readmodel.rows import BatchRows
from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.runtime.schema.http_registry import RegistryUnavailableError
from livebalance.wire.delta import split_delta_frame
from livebalance.wire.errors import DecodeError
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.avro import Schema, SchemaId
from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.cli.command_line import CommandResult, run_command
from tests.integration.projector.pipeline import Pipeline, balance, history, transfer, wait_until
from tests.integration.projector.redis_listener import RedisListener, redis_listener
from tests.integration.projector.test_crash import other_group
from tests.integration.projector.test_takeover import WritePauser

NEW = SchemaId(7)
HELD = "select count(*)::int from quarantine where state = 'held'"
STATES = "select string_agg(state, ',' order by id) from quarantine"
LANES = (
    "select lane, transfers_next, transfers_last, transfers_fingerprint, balances_next, balances_last,"
    " balances_fingerprint, last_event_at, halted_why from lane order by lane"
)


class Registry:
    """A schema registry that lacks the schema NEW until `knows` is set."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.knows = self.is_unavailable = False
        original = FileRegistry.writer_schema

        def writer_schema(files: FileRegistry, id_: SchemaId) -> Schema:
            if id_ != NEW:
                return original(files, id_)
            if self.knows:
                return avro.TRANSFER_SCHEMA
            raise DecodeError(f"unknown schema id {id_}")

        async def fetch_schemas(_: FileRegistry, values: Sequence[bytes | None]) -> None:
            if self.is_unavailable and any(value and avro.schema_id(value) == NEW for value in values):
                raise RegistryUnavailableError("gone")

        patch.setattr(FileRegistry, "writer_schema", writer_schema)
        patch.setattr(FileRegistry, "fetch_schemas", fetch_schemas)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    return Registry(monkeypatch)


async def write(pipeline: Pipeline, records: Sequence[Transfer | Balance], *new: str) -> None:
    """Writes records to lane 0 in this order; the transfers with the ids `new` use the schema NEW."""
    for record in records:
        if isinstance(record, Transfer) and record.id in new:
            value = avro.encode_transfer(record, NEW)
            await pipeline.write_raw(pipeline.topics.transfers, record.account.encode(), value, 0)
        else:
            await pipeline.write([record], 0)


async def request_replay(pipeline: Pipeline, *words: object) -> CommandResult:
    environment = {"LIVEBALANCE_POSTGRES": pipeline.database.url("operator")}
    return await run_command(
        environment, "quarantine", "replay", *map(str, words), "--reason", "the schema is there"
    )


@pytest.fixture
async def listener(pipeline: Pipeline) -> AsyncIterator[RedisListener]:
    async with redis_listener(pipeline.redis, pipeline.prefix) as listener:
        yield listener


async def test_replayed_record_is_applied_and_published(
    pipeline: Pipeline, registry: Registry, listener: RedisListener
) -> None:
    records = history("alice", [100, 50])
    async with pipeline.running():
        await write(pipeline, records, "t-2")
        await pipeline.wait_for("select revision::int from balance", 4)
        await pipeline.wait_for(HELD, 1)
        assert (await pipeline.accounts())["alice"]["drift"] is None
        lanes = await pipeline.query(LANES)
        registry.knows = True
        done = await request_replay(pipeline, 1)
        assert (done.code, done.err) == (0, "")
        await listener.wait_for_revision("alice", 5)
        assert await pipeline.query(LANES) == lanes
    await pipeline.assert_exact(records)
    [row] = await pipeline.query("select * from transfer where transfer_id = 't-2'")
    [put] = await pipeline.query("select * from quarantine")
    assert (row["topic"], row["lane"], row["source_offset"]) == (pipeline.topics.transfers, 0, 1)
    assert (row["revision"], put["state"], put["reason"]) == (5, "applied", "unknown schema id 7")
    assert row["recorded_at"] >= put["kafka_time"]
    last = listener.deltas[-1][1]
    shown = json.loads(split_delta_frame(last.text).transfers)
    assert (last.from_, last.to, shown["id"]) == (4, 5, "t-2")
    assert shown["source"] == f"{pipeline.topics.transfers}/0@1"
    [note] = await pipeline.query("select what, lane, was, became, by, why from intervention")
    was = f"{pipeline.topics.transfers}/0@1: unknown schema id 7"
    assert tuple(note) == ("quarantine", 0, was, None, "operator", "the schema is there")


async def test_second_replay_does_nothing(pipeline: Pipeline, registry: Registry) -> None:
    records = history("alice", [100, 50])
    async with pipeline.running():
        await write(pipeline, records, "t-2")
        await pipeline.wait_for(HELD, 1)
        registry.knows = True
        await request_replay(pipeline, 1, 1)
        await pipeline.wait_for(STATES, "applied")
        again = await request_replay(pipeline, 1)
        assert again.err == "livebalance: nothing is replayed: record 1 is applied, not held\n"
        await pipeline.query("update quarantine set state = 'replay'")  # as an operator could do in SQL
        await pipeline.wait_for(STATES, "duplicate")
    await pipeline.assert_exact(records)


async def test_record_rejected_again_is_held_and_does_not_halt_the_lane(pipeline: Pipeline) -> None:
    async with pipeline.running(max_consecutive_rejects=1):
        await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"bad", 0)
        await pipeline.wait_for(HELD, 1)
        await pipeline.query("update quarantine set reason = 'an earlier reason'")
        await request_replay(pipeline, 1)
        await pipeline.wait_for("select reason from quarantine where state = 'held'", "not Confluent-framed")
        await write(pipeline, [transfer("alice", "t", 1)])
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        assert await pipeline.query("select 1 from lane where halted_why is not null") == []
        assert len(await pipeline.query("select from quarantine")) == 1


async def test_replayed_older_balance_is_stale(pipeline: Pipeline) -> None:
    records = history("alice", [100, 50])
    async with pipeline.running():
        await write(pipeline, records)
        await pipeline.wait_until_applied(records)
        await pipeline.write_raw(pipeline.topics.balances, b"alice", b"bad", 0)
        await pipeline.wait_for(HELD, 1)
        old = avro.encode_balance(balance("alice", 1, "t-gone", 7), SchemaId(2))
        await pipeline.query("update quarantine set value = $1, source_offset = 1", old)
        await request_replay(pipeline, 1)
        await pipeline.wait_for(STATES, "stale")
    await pipeline.assert_exact(records)


async def test_fenced_owner_applies_no_replay(
    pipeline: Pipeline, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = history("alice", [100])[1:2]
    async with pipeline.running():
        await write(pipeline, records, "t-1")
        await pipeline.wait_for(HELD, 1)
    registry.knows = True
    await request_replay(pipeline, 1)
    pauser = WritePauser(monkeypatch, "previous")
    async with pipeline.running("previous"):
        await pauser.paused.wait()
        await pipeline.query("update lane set generation = generation + 1")
        [[generation]] = await pipeline.query("select max(generation) from lane")
        pauser.resume.set()
        await pipeline.wait_for(
            f"select bool_and(generation > {generation}) from lane", True
        )  # claimed again
        assert await pipeline.query("select from balance") == []
        assert (await pipeline.query(STATES))[0][0] == "replay"
        pauser.end.set()
        await pipeline.wait_for(STATES, "applied")
    assert await pipeline.transfer_ids("alice") == ["t-1"]


async def test_replay_with_unanswered_commit_is_published_after_it_is_resolved(
    pipeline: Pipeline, registry: Registry, listener: RedisListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = history("alice", [100, 50])
    unanswered = [CommitUnknownError("the connection died inside COMMIT")]
    original = Store.write

    async def write_unanswered(store: Store, batch: BatchRows) -> KeptTotals:
        if batch.replayed and unanswered:
            raise unanswered.pop()
        return await original(store, batch)

    monkeypatch.setattr(Store, "write", write_unanswered)
    async with pipeline.running():
        await write(pipeline, records, "t-2")
        await pipeline.wait_for(HELD, 1)
        await pipeline.wait_until_applied(records[:-1])
        registry.knows = True
        await request_replay(pipeline, 1)
        await pipeline.wait_for(STATES, "applied")
        await write(pipeline, [transfer("alice", "t-3", 1)])
        await listener.wait_for_revision("alice", 6)
    assert unanswered == []
    assert listener.revisions("alice")[-2:] == [(4, 5), (5, 6)]
    assert [to for _, to in listener.revisions("alice")].count(5) == 1


@pytest.mark.parametrize(("point", "state"), [("before_commit", "replay"), ("after_commit", "applied")])
async def test_projector_killed_during_a_replay_applies_it_once(
    pipeline: Pipeline, listener: RedisListener, point: str, state: str
) -> None:
    records = history("alice", [100, 50])
    async with pipeline.running():
        await write(pipeline, [record for record in records if not isinstance(record, Transfer)])
        await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"bad", 0)
        await pipeline.wait_for(HELD, 1)
        await pipeline.wait_until_applied(records[::2])
    await pipeline.query("update quarantine set value = $1", avro.encode_transfer(records[1], SchemaId(1)))  # type: ignore[arg-type]
    await request_replay(pipeline, 1)
    victim = pipeline.start(crash_at=f"{point}:1", projector_group=other_group(pipeline))
    await wait_until(lambda: victim.exit_code == -signal.SIGKILL)
    assert (await pipeline.query(STATES))[0][0] == state
    pipeline.start("projector-2", projector_group=f"third-{pipeline.prefix}")
    await pipeline.wait_for(STATES, "applied")
    await write(pipeline, records[3:4])
    await listener.wait_for_revision("alice", 5)
    assert listener.revisions("alice")[-1] == (4, 5)
    assert await pipeline.transfer_ids("alice") == ["t-1", "t-2"]


async def test_replay_in_a_halted_lane_is_applied_before_later_records(
    pipeline: Pipeline, registry: Registry
) -> None:
    records = [transfer("alice", f"t-{number}", number) for number in (1, 2, 3)]
    environment = {"LIVEBALANCE_POSTGRES": pipeline.database.url("operator")}
    async with pipeline.running(max_consecutive_rejects=1):
        await write(pipeline, records, "t-1", "t-2", "t-3")
        await pipeline.wait_for("select count(*)::int from lane where halted_why is not null", 1)
        registry.knows = True
        await request_replay(pipeline, 1)
        assert (await pipeline.query(STATES))[0][0] == "replay"
        await run_command(environment, "lane", "continue", "0", "--reason", "the schema is there")
        await pipeline.wait_for("select count(*)::int from transfer", 3)
    assert await pipeline.transfer_ids("alice") == ["t-1", "t-2", "t-3"]


async def test_quarantined_record_of_an_erased_account_is_not_applied(
    pipeline: Pipeline, registry: Registry
) -> None:
    async with pipeline.running():
        await write(pipeline, [transfer("alice", "t-1", 1), transfer("bob", "t-1", 1)], "t-1")
        await pipeline.wait_for(HELD, 2)
        await pipeline.write_raw(pipeline.topics.balances, b"alice", None, 0)
        await pipeline.wait_for(STATES, "erased,held")
        registry.knows = True
        done = await request_replay(pipeline, 1, 2)
        assert done.err == "livebalance: nothing is replayed: record 1 is erased, not held\n"
        await request_replay(pipeline, 2)
        await pipeline.wait_for(STATES, "erased,applied")
    assert [await pipeline.transfer_ids(name) for name in ("alice", "bob")] == [[], ["t-1"]]


async def test_replay_waits_for_the_registry_and_blocks_no_lane(
    pipeline: Pipeline, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_RETRY_SECONDS", 0.2)
    async with pipeline.running():
        await write(pipeline, [transfer("alice", "t-1", 1)], "t-1")
        await pipeline.wait_for(HELD, 1)
        registry.knows = registry.is_unavailable = True
        [[generations]] = await pipeline.query("select sum(generation) from lane")
        await request_replay(pipeline, 1)
        for number in range(3):
            await write(pipeline, [transfer("bob", f"t-{number}", 1)])
            await pipeline.wait_for("select count(*)::int from transfer", number + 1)
        assert (await pipeline.query(STATES))[0][0] == "replay"
        assert (await pipeline.query("select sum(generation) from lane"))[0][0] == generations
        registry.is_unavailable = False
        await pipeline.wait_for(STATES, "applied")
