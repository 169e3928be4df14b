"""A batch that is read ahead, while the batch before it meets a fault (decision 39)."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from livebalance.projector import projector as projector_module
from livebalance.projector.postgres.store import Store
from livebalance.projector.projector import Projector
from livebalance.projector.redis.messages import KeptTotals
from livebalance.readmodel.rows import BatchRows
from tests.integration.projector.pipeline import Pipeline, history, wait_until

Fault = Callable[[], Awaitable[None]]

OTHER_OWNER = "update lane set generation = generation + 1"
READ = "select sum(transfers_next + balances_next)::int from lane"


@pytest.fixture(autouse=True)
def no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read ahead before the lanes' progress is written."""
    monkeypatch.setattr(projector_module, "_PROGRESS_SECONDS", 60.0)


def halts(batch: BatchRows) -> bool:
    return any(move.halted_why for move in batch.moves)


class FaultyWrite:
    """Causes a fault in the first write of a batch that matches, if the next batch was read ahead."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, matches: Callable[[BatchRows], bool] = lambda _: True
    ) -> None:
        self.happened = False
        self._matches = matches
        self._fault: Fault | None = None
        self._projector: Projector | None = None
        self._write = Store.write
        faulty = self

        async def write(store: Store, batch: BatchRows) -> KeptTotals:
            await faulty.before_write(batch)
            return await faulty._write(store, batch)

        monkeypatch.setattr(Store, "write", write)

    def arm(self, projector: Projector, fault: Fault) -> None:
        self._projector, self._fault = projector, fault

    async def before_write(self, batch: BatchRows) -> None:
        if self._fault is None or self._projector is None or not self._matches(batch):
            return
        if not self._projector._read_ahead.is_ahead:
            return
        fault, self._fault = self._fault, None
        task = self._projector._read_ahead._task
        assert task is not None
        assert await asyncio.wait_for(asyncio.shield(task), 60.0), "nothing was read ahead"
        self.happened = True
        await fault()


async def change_owner(pipeline: Pipeline) -> None:
    await pipeline.query(OTHER_OWNER)


async def lose_connection(_: Pipeline) -> None:
    raise asyncpg.ConnectionDoesNotExistError("lost")


@pytest.mark.parametrize("fault", [change_owner, lose_connection], ids=["fenced", "connection lost"])
async def test_batch_read_ahead_is_read_again_after_the_batch_before_it_failed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Pipeline], Awaitable[None]]
) -> None:
    records = [record for name in ("a", "b", "c") for record in history(name, range(1, 30))]
    await pipeline.write(records)
    faulty = FaultyWrite(monkeypatch)
    async with pipeline.running(batch_records=20) as projector:
        faulty.arm(projector, lambda: fault(pipeline))
        await pipeline.wait_for(READ, len(records))
    assert faulty.happened
    await pipeline.assert_exact(records)


async def test_batch_read_ahead_is_not_applied_under_another_assignment(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [record for name in ("a", "b", "c", "d") for record in history(name, range(1, 30))]
    await pipeline.write(records)
    faulty, joined = FaultyWrite(monkeypatch), asyncio.Event()
    async with pipeline.running(batch_records=20) as projector:

        async def rebalance() -> None:
            before = projector._consumer.assignment_number
            joined.set()
            await wait_until(lambda: projector._consumer.assignment_number > before)

        faulty.arm(projector, rebalance)
        await joined.wait()
        async with pipeline.running("projector-2", batch_records=20):
            await pipeline.wait_for(READ, len(records))
    await pipeline.assert_exact(records)


async def test_batch_read_ahead_of_a_lane_that_halts_is_not_applied(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane halts before its first rejected record; what follows waits for an operator.

    Some batches come before, so that all records have arrived when it halts.
    """
    good, later = history("a", range(1, 20)), history("a", range(20, 60), 20)
    await pipeline.write(good, 0)
    await pipeline.write_raw(pipeline.topics.transfers, b"a", b"poison", 0)
    await pipeline.write(later, 0)
    faulty = FaultyWrite(monkeypatch, halts)

    async def change_nothing() -> None:
        pass

    async with pipeline.running(batch_records=10, max_consecutive_rejects=0) as projector:
        faulty.arm(projector, change_nothing)
        await pipeline.wait_for("select halted_why is not null from lane where lane = 0", True)
        await wait_until(lambda: not projector._read_ahead.is_ahead)
    assert faulty.happened
    [row] = await pipeline.query("select transfers_next from lane where lane = 0")
    assert row[0] == 19
    assert await pipeline.transfer_ids("a") == [f"t-{number}" for number in range(1, 20)]
