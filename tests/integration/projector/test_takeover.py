"""Two projectors: a lane has one owner, and a previous owner cannot write."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from livebalance.projector.postgres.store import Store
from livebalance.projector.redis.messages import KeptTotals
from livebalance.readmodel.projection import batch_writes, lane_writes
from livebalance.readmodel.rows import BatchRows
from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.projector.pipeline import Pipeline, balance, history

OWNERS = "select string_agg(distinct owner, ',' order by owner) from lane"


async def write_histories(
    pipeline: Pipeline, accounts: int, start: int, end: int
) -> list[Transfer | Balance]:
    """Writes the changes `start` up to `end` of each of `accounts` accounts."""
    records: list[Transfer | Balance] = []
    for number in range(accounts):
        records += history(f"acc-{number}", range(1, end))[1 + 2 * (start - 1) if start > 1 else 0 :]
    await pipeline.write(records)
    return records


async def test_lanes_of_a_killed_projector_move_to_the_other(pipeline: Pipeline) -> None:
    first, second = pipeline.start("one"), pipeline.start("two")
    await pipeline.wait_for(OWNERS, "one,two")
    records = await write_histories(pipeline, 6, 1, 10)
    first.kill()
    records += await write_histories(pipeline, 6, 10, 20)
    await pipeline.wait_until_applied(records)
    await pipeline.wait_for(OWNERS, "two")
    assert second.pid is not None
    await pipeline.assert_exact(sorted(records, key=lambda record: record.account))


async def test_stopped_projector_that_continues_cannot_write(pipeline: Pipeline) -> None:
    """The projector is stopped under load until its lanes have moved, and continues beside the new owner."""
    previous = pipeline.start("previous", batch_records=20)
    await pipeline.wait_for(OWNERS, "previous")
    records = await write_histories(pipeline, 6, 1, 30)
    previous.send(signal.SIGSTOP)
    pipeline.start("next")
    records += await write_histories(pipeline, 6, 30, 40)
    await pipeline.wait_for(OWNERS, "next")
    await pipeline.wait_until_applied(records)
    previous.send(signal.SIGCONT)
    records += await write_histories(pipeline, 6, 40, 80)
    await pipeline.wait_until_applied(records)
    await pipeline.assert_exact(sorted(records, key=lambda record: record.account))


class WritePauser:
    """Pauses a projector before a transaction until `resume`, and before the next transaction until `end`."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str) -> None:
        self.paused, self.resume = asyncio.Event(), asyncio.Event()
        self.end = asyncio.Event()
        write = Store.write

        async def paused_write(store: Store, batch: BatchRows) -> KeptTotals:
            if store._name == name:
                self.paused.set()
                await (self.end if self.resume.is_set() else self.resume).wait()
            return await write(store, batch)

        patch.setattr(Store, "write", paused_write)


async def write_after_takeover(pipeline: Pipeline, patch: pytest.MonkeyPatch, condition: str) -> None:
    """The previous owner writes a batch with version 1 after the new owner has written version 3."""
    pauser = WritePauser(patch, "previous")
    records = [balance("alice", version, f"t-{version}", version) for version in (1, 2, 3)]
    async with pipeline.running("previous"):
        await pipeline.wait_for(OWNERS, "previous")
        await pipeline.write(records[:1])
        await pauser.paused.wait()
        async with pipeline.running(
            "next", projector_group=f"next-{pipeline.prefix}"
        ):  # gets all lanes at once
            await pipeline.write(records[1:])
            await pipeline.wait_for("select version::int from balance", 3)
        pauser.resume.set()
        await pipeline.wait_for(f"select {condition} from lane", True)
        [row] = await pipeline.query("select version, revision from balance")
        [lane] = await pipeline.query("select max(balances_next) from lane")
        pauser.end.set()
        assert (row["version"], row["revision"], lane[0]) == (3, 3, 3)


async def test_fenced_owner_cannot_write(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    await write_after_takeover(
        pipeline, monkeypatch, "bool_and(owner = 'previous')"
    )  # it has claimed the lanes again


@pytest.fixture
def without_fence() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        statement = batch_writes._WRITE
        for part, without in (
            (lane_writes.MOVE, lane_writes.MOVE.partition("and l.generation")[0]),
            ("and b.revision = x.was", ""),
        ):
            assert part in statement
            statement = statement.replace(part, without, 1)
        patch.setattr(batch_writes, "_WRITE", statement)
        yield patch


@pytest.mark.mutant
async def test_without_the_fence_the_previous_owner_writes(
    pipeline: Pipeline, without_fence: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match=r"\(1, 1, 1\) == \(3, 3, 3\)"):
        await write_after_takeover(pipeline, without_fence, "max(balances_next) = 1")
