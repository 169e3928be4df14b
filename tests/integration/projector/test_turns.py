"""Work beside the batches: what ends a turn, and what the next turn and the loop see of it."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from livebalance.projector.errors import FencedError
from livebalance.projector.postgres.turns import Turns
from livebalance.readmodel.connection import Connection
from tests.integration.projector.pipeline import Pipeline
from tests.servers.database import Database

# Of a test. A turn that is to go on waits longer.
DEADLINE = 20.0


@pytest_asyncio.fixture
async def turns(pipeline: Pipeline) -> AsyncIterator[Turns]:
    turns = Turns(pipeline.settings("projector-1"), "sums", DEADLINE, statement_timeout="17s")
    yield turns
    await turns.aclose()


async def until_over(turns: Turns) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await turns.is_over():  # noqa: ASYNC110 - as the loop asks, though every second
            await asyncio.sleep(0.01)


async def test_turn_has_a_named_connection_with_its_settings(turns: Turns) -> None:
    seen: list[str] = []

    async def work(connection: Connection) -> None:
        seen.append(await connection.fetchval("show application_name"))
        seen.append(await connection.fetchval("show statement_timeout"))

    assert await turns.is_over()
    turns.begin(work)
    assert not await turns.is_over()
    await until_over(turns)
    assert seen == ["projector-1 sums", "17s"]


async def test_bug_of_a_turn_is_raised_to_the_loop_once(turns: Turns) -> None:
    async def work(connection: Connection) -> None:
        await connection.execute("select no_such_column")

    turns.begin(work)
    with pytest.raises(asyncpg.UndefinedColumnError):
        await until_over(turns)
    assert await turns.is_over()


async def test_turn_that_was_fenced_or_lost_its_server_is_over(turns: Turns) -> None:
    async def be_fenced(connection: Connection) -> None:
        raise FencedError("another owner")

    async def lose(connection: Connection) -> None:
        await connection.execute("select pg_terminate_backend(pg_backend_pid())")

    for turn in (be_fenced, lose):
        turns.begin(turn)
        await until_over(turns)


async def test_turn_that_takes_too_long_is_interrupted(pipeline: Pipeline) -> None:
    turns = Turns(pipeline.settings("projector-1"), "sums", 0.5)

    async def work(connection: Connection) -> None:
        await connection.execute("select pg_sleep(60)")

    turns.begin(work)
    await until_over(turns)


async def test_closing_ends_the_turn_and_what_it_had_not_committed(turns: Turns, database: Database) -> None:
    has_begun = asyncio.Event()

    async def work(connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("lock table balance in row exclusive mode")
            has_begun.set()
            await asyncio.Event().wait()

    turns.begin(work)
    async with asyncio.timeout(DEADLINE):
        await has_begun.wait()
        await turns.aclose()
        async with database.locked("balance"):
            pass
