"""The turns of queries, however they end. A query only waits for an event here."""

import asyncio
from typing import Any, cast

import asyncpg
import pytest
from prometheus_client import REGISTRY

from livebalance.gateway.api import queries
from livebalance.gateway.api.queries import MAX_QUERIES, Queries, QueueFullError


@pytest.fixture(autouse=True)
def _no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the real deadline out of the tests, which a stalled machine could miss."""
    monkeypatch.setattr(queries, "QUERY_SECONDS", 60.0)


class Work:
    """Queries that run until `go` is set."""

    def __init__(self) -> None:
        self.queries = Queries(cast("asyncpg.Pool[Any]", None))
        self.go = asyncio.Event()
        self.started: list[str] = []

    def start(self, user: str) -> "asyncio.Task[str]":
        async def query() -> str:
            self.started.append(user)
            await self.go.wait()
            return user

        return asyncio.create_task(self.queries.run(user, query))

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def assert_all_turns_are_free(self) -> None:
        """Asserts that as many queries as ever can run at once."""
        self.started.clear()
        self.go.clear()
        tasks = [self.start(f"user-{number}") for number in range(MAX_QUERIES + 1)]
        await self.settle()
        assert len(self.started) == MAX_QUERIES
        self.go.set()
        assert [await task for task in tasks] == [f"user-{number}" for number in range(MAX_QUERIES + 1)]
        assert REGISTRY.get_sample_value("livebalance_gateway_waiting_queries") == 0


async def test_cancelled_query_frees_its_turn_whether_it_waits_or_runs() -> None:
    work = Work()
    tasks = [work.start(user) for user in "aabbcc"]
    await work.settle()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    await work.assert_all_turns_are_free()


async def test_query_that_is_cancelled_as_its_turn_comes_frees_it() -> None:
    work = Work()
    running = [work.start(user) for user in "aab"]
    waiting = [work.start(user) for user in "cde"]
    await work.settle()
    work.go.set()
    while not running[0].done():  # noqa: ASYNC110 - the turn passes on in this step of the event loop
        await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*running, *waiting, return_exceptions=True)
    await work.assert_all_turns_are_free()


async def test_query_whose_turn_does_not_come_in_time_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    running = [work.start(user) for user in "abc"]
    await work.settle()
    with monkeypatch.context() as patch:
        patch.setattr(queries, "QUERY_SECONDS", 0.0)
        waiting = [work.start(user) for user in "abcd"]
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError] * 4
    work.go.set()
    assert [await task for task in running] == ["a", "b", "c"]
    assert work.started == ["a", "b", "c"]
    await work.assert_all_turns_are_free()


async def test_running_query_whose_deadline_passes_frees_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    with monkeypatch.context() as patch:
        patch.setattr(queries, "QUERY_SECONDS", 0.0)  # the turn comes at once, so the query starts
        results = await asyncio.gather(*[work.start(user) for user in "abc"], return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError] * 3
    assert work.started == ["a", "b", "c"]
    await work.assert_all_turns_are_free()


async def test_failed_query_frees_its_turn() -> None:
    work = Work()

    async def fail() -> None:
        raise OSError

    for _ in range(2 * MAX_QUERIES):
        with pytest.raises(OSError):
            await work.queries.run("a", fail)
    await work.assert_all_turns_are_free()


async def test_full_queue_drops_a_query_of_the_greediest_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_WAITING", 5)
    work = Work()
    greedy = [work.start("greedy") for _ in range(7)]
    await work.settle()
    honest = [work.start(f"honest-{number}") for number in range(3)]
    await work.settle()
    work.go.set()
    results = await asyncio.gather(*greedy, return_exceptions=True)
    assert [type(result) for result in results] == [str] * 5 + [QueueFullError] * 2
    assert [await task for task in honest] == ["honest-0", "honest-1", "honest-2"]
    await work.assert_all_turns_are_free()
