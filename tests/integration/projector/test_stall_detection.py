"""A stalled loop ends the process; an unavailable broker or database does not."""

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from livebalance.projector.__main__ import serve
from livebalance.projector.postgres.store import Store
from livebalance.projector.projector import Projector
from livebalance.readmodel.migrate import migrate
from livebalance.readmodel.rows import BatchRows
from livebalance.runtime.kafka import stall_detector
from livebalance.runtime.kafka.stall_detector import StalledError
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.servers.servers import Servers
from tests.integration.projector.pipeline import Pipeline, transfer, wait_until
from tests.servers.database import Database


async def get(port: int, path: str) -> tuple[int, str]:
    """Requests a path of a service that may still be starting."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=8), timeout=30) as http:
        response = await http.get(f"http://127.0.0.1:{port}{path}")
    return response.status_code, response.text


GiveUpAfter = Callable[[float], None]


@pytest.fixture
def give_up_after(monkeypatch: pytest.MonkeyPatch) -> GiveUpAfter:
    """`give_up_after(5)`: from now on, a stalled loop ends after five seconds; before, it has more time."""
    monkeypatch.setattr(stall_detector, "_SUSPECT_SECONDS", 1.0)

    def begin(seconds: float) -> None:
        monkeypatch.setattr(stall_detector, "_STALLED_SECONDS", 2.0)
        monkeypatch.setattr(stall_detector, "_EXIT_SECONDS", seconds)

    return begin


async def wait_until_stalled(pipeline: Pipeline, projector: Projector) -> None:
    await wait_until(lambda: "although records wait" in (projector.unready_reason() or ""))
    await wait_until(lambda: "although records wait" in (projector.stalled_reason() or ""))
    await asyncio.sleep(20)


async def stop_fetching(pipeline: Pipeline, give_up_after: GiveUpAfter) -> None:
    async with pipeline.running() as projector:
        await pipeline.write([transfer("alice", "t", 1)])
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        assert projector.unready_reason() is None
        give_up_after(5)
        projector._consumer._consumer.pause(*projector._consumer._consumer.assignment())
        await asyncio.sleep(2.5)
        assert projector.unready_reason() is None  # there is nothing to fetch
        await pipeline.write([transfer("alice", "u", 1)])
        await wait_until_stalled(pipeline, projector)


async def hang_in_a_write(
    pipeline: Pipeline, give_up_after: GiveUpAfter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(store: Store, batch: BatchRows) -> None:
        await asyncio.Event().wait()

    settings = pipeline.settings(http_port=free_port())
    serving = asyncio.create_task(serve(settings, asyncio.Event()))
    await pipeline.write([transfer("alice", "t", 1)])
    await pipeline.wait_for("select count(*)::int from transfer", 1)
    assert await get(settings.http_port, "/livez") == (200, "ok\n")
    give_up_after(5)
    monkeypatch.setattr(Store, "write", hang)
    await pipeline.write([transfer("alice", "u", 1)])
    answer = 200, "ok\n"
    async with asyncio.timeout(30):
        while answer[0] == 200:
            await asyncio.sleep(0.1)
            answer = await get(settings.http_port, "/livez")
    assert answer == (503, "nothing processed although records wait\n")
    await serving


async def test_consumer_that_stops_fetching_ends_the_process(
    pipeline: Pipeline, give_up_after: GiveUpAfter
) -> None:
    with pytest.raises(StalledError, match="nothing fetched"):
        await stop_fetching(pipeline, give_up_after)


async def test_open_transaction_is_not_a_stall(pipeline: Pipeline, give_up_after: GiveUpAfter) -> None:
    async with pipeline.running() as projector:
        await pipeline.write([transfer("alice", "t", 1)])
        await pipeline.wait_for("select count(*)::int from transfer", 1)
        async with pipeline.open_transaction(transfer("alice", "never", 1)):
            await pipeline.write([transfer("alice", "u", 1)])
            give_up_after(5)
            consumer = projector._consumer._consumer
            consumer.pause(*consumer.assignment())  # silent, so the detector requests the end offsets
            await asyncio.sleep(2.5)
            assert projector.unready_reason() is None
            consumer.resume(*consumer.assignment())
        await pipeline.wait_for("select count(*)::int from transfer", 2)


async def test_hanging_batch_ends_the_process(
    pipeline: Pipeline, give_up_after: GiveUpAfter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StalledError, match="nothing processed"):
        await hang_in_a_write(pipeline, give_up_after, monkeypatch)


async def test_long_postgres_outage_is_not_a_stall(
    pipeline: Pipeline, paths: StatePaths, tmp_path: Path, give_up_after: GiveUpAfter
) -> None:
    with Servers(
        StatePaths(paths.home, tmp_path / "own"), parts=["postgres"], durable=False, only_embedded=True
    ) as servers:
        await migrate(servers.postgres())
        pipeline = dataclasses.replace(pipeline, database=Database(servers.postgres, "livebalance"))
        server = servers.embedded["postgres"].child
        async with pipeline.running() as projector:
            await pipeline.write([transfer("alice", "t", 1)])
            await pipeline.wait_for("select count(*)::int from transfer", 1)
            server.kill()
            await pipeline.write([transfer("alice", "u", 1)])
            give_up_after(60)
            before = projector.iterations
            async with asyncio.timeout(60):
                while projector.iterations < before + 6:  # each fails by itself, and waits longer
                    assert projector.stalled_reason() is None
                    await asyncio.sleep(0.05)
            server.start()
            server.wait_for("ready to accept connections", 30)
            await pipeline.wait_for("select count(*)::int from transfer", 2)


async def test_projector_without_kafka_is_live_and_not_ready(pipeline: Pipeline) -> None:
    port = free_port()
    pipeline.start(kafka="127.0.0.1:1", http_port=port)
    assert await get(port, "/livez") == (200, "ok\n")
    assert await get(port, "/readyz") == (503, "kafka is unavailable\n")
