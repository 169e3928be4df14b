"""A stopped process keeps its locks; a claim terminates the backend that holds them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.projection import lane_writes
from tests.integration.projector.pipeline import Pipeline, history


@asynccontextmanager
async def stopped_inside_copy(pipeline: Pipeline) -> AsyncIterator[asyncio.Task[str]]:
    """Holds the locks of all lanes, in a backend of role `projector` that waits for the rest of a COPY."""
    connection = await asyncpg.connect(pipeline.database.url("projector"))
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"1\n"
        begun.set()
        await asyncio.Event().wait()

    await connection.execute("begin")
    await connection.execute("update lane set owner = 'stopped'")
    await connection.execute("create temporary table staging (x int)")
    copying = asyncio.create_task(connection.copy_to_table("staging", source=endless()))
    await begun.wait()
    try:
        yield copying
    finally:
        connection.terminate()
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)


async def claim_from_stopped_process(pipeline: Pipeline, seconds: float) -> None:
    records = history("alice", [1, 2])
    async with pipeline.running():
        await pipeline.write(records[:3])
        await pipeline.wait_until_applied(records[:3])
    async with stopped_inside_copy(pipeline), pipeline.running("projector-2"):
        await pipeline.write(records[3:])
        await pipeline.wait_until_applied(records, seconds)


async def test_claim_terminates_the_holder_of_the_lock(pipeline: Pipeline) -> None:
    await claim_from_stopped_process(pipeline, 30)
    await pipeline.assert_exact(history("alice", [1, 2]))


@pytest.mark.mutant
async def test_without_eviction_a_stopped_process_blocks_the_claim(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def evict_nobody(connection: Connection, lane: int) -> int:
        return 0

    monkeypatch.setattr(lane_writes, "terminate_lock_holder", evict_nobody)
    with pytest.raises(AssertionError, match="not 5"):
        await claim_from_stopped_process(pipeline, 8)
