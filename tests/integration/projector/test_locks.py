"""A stopped process keeps its locks; a claim takes them from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from livebalance.readmodel import projector_writes
from tests.integration.projector.world import World, history


@asynccontextmanager
async def stopped_inside_copy(world: World) -> AsyncIterator[asyncio.Task[str]]:
    """A backend of a projector's role that holds the locks of all lanes and waits for the rest of a COPY."""
    connection = await asyncpg.connect(world.database.url("projector"))
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


async def claims_from_the_stopped(world: World, seconds: float) -> None:
    fed = history("alice", [1, 2])
    async with world.running():
        await world.write(fed[:3])
        await world.applied(fed[:3])
    async with stopped_inside_copy(world), world.running("projector-2"):
        await world.write(fed[3:])
        await world.applied(fed, seconds)


async def test_the_rule_of_locks(world: World) -> None:
    await claims_from_the_stopped(world, 30)
    await world.is_exact(history("alice", [1, 2]))


@pytest.mark.mutant
async def test_without_it_the_timeouts_of_the_role_do_not_help(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(connection: projector_writes.Connection, lane: int) -> int:
        return 0

    monkeypatch.setattr(projector_writes, "evict_holder", nobody)
    with pytest.raises(AssertionError, match="not 5"):
        await claims_from_the_stopped(world, 8)
