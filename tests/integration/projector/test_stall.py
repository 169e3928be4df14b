"""Standing still is noticed, and a broker or a database that is away is not taken for it."""

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
from tests.integration.projector.world import World, reached, transfer
from tests.servers.database import Database


async def answer(port: int, path: str) -> tuple[int, str]:
    """Of a service that may still be starting."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=8)) as http:
        told = await http.get(f"http://127.0.0.1:{port}{path}")
    return told.status_code, told.text


Impatience = Callable[[float], None]


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> Impatience:
    """`impatience(5)`: from now on a loop gives up after five seconds; before, it has all its time."""
    monkeypatch.setattr(stall_detector, "_SUSPECT_SECONDS", 1.0)

    def begin(give_up: float) -> None:
        monkeypatch.setattr(stall_detector, "_STALLED_SECONDS", 2.0)
        monkeypatch.setattr(stall_detector, "_EXIT_SECONDS", give_up)

    return begin


async def is_noticed(world: World, projector: Projector) -> None:
    await reached(lambda: "although records wait" in (projector.unready_reason() or ""))
    await reached(lambda: "although records wait" in (projector.stalled_reason() or ""))
    await asyncio.sleep(20)


async def stops_fetching(world: World, impatience: Impatience) -> None:
    async with world.running() as projector:
        await world.write([transfer("alice", "t", 1)])
        await world.until("select count(*)::int from transfer", 1)
        assert projector.unready_reason() is None
        impatience(5)
        projector._consumer._consumer.pause(*projector._consumer._consumer.assignment())
        await asyncio.sleep(2.5)
        assert projector.unready_reason() is None  # there is nothing to fetch
        await world.write([transfer("alice", "u", 1)])
        await is_noticed(world, projector)


async def hangs_in_a_write(world: World, impatience: Impatience, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(store: Store, work: BatchRows) -> None:
        await asyncio.Event().wait()

    settings = world.settings(http_port=free_port())
    serving = asyncio.create_task(serve(settings, asyncio.Event()))
    await world.write([transfer("alice", "t", 1)])
    await world.until("select count(*)::int from transfer", 1)
    assert await answer(settings.http_port, "/livez") == (200, "ok\n")
    impatience(5)
    monkeypatch.setattr(Store, "write", never)
    await world.write([transfer("alice", "u", 1)])
    told = 200, "ok\n"
    async with asyncio.timeout(30):
        while told[0] == 200:
            await asyncio.sleep(0.1)
            told = await answer(settings.http_port, "/livez")
    assert told == (503, "nothing processed although records wait\n")
    await serving


async def test_a_consumer_that_stops_fetching_ends_the_process(world: World, impatience: Impatience) -> None:
    with pytest.raises(StalledError, match="nothing fetched"):
        await stops_fetching(world, impatience)


async def test_what_an_open_transaction_holds_back_is_no_standstill(
    world: World, impatience: Impatience
) -> None:
    async with world.running() as projector:
        await world.write([transfer("alice", "t", 1)])
        await world.until("select count(*)::int from transfer", 1)
        async with world.held_back_by(transfer("alice", "never", 1)):
            await world.write([transfer("alice", "u", 1)])
            impatience(5)
            reading = projector._consumer._consumer
            reading.pause(*reading.assignment())  # it is silent, so the broker is asked whether there is more
            await asyncio.sleep(2.5)
            assert projector.unready_reason() is None
            reading.resume(*reading.assignment())
        await world.until("select count(*)::int from transfer", 2)


async def test_a_batch_that_never_ends_ends_the_process(
    world: World, impatience: Impatience, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StalledError, match="nothing processed"):
        await hangs_in_a_write(world, impatience, monkeypatch)


async def test_postgres_away_for_long_is_no_standstill(
    world: World, place: StatePaths, tmp_path: Path, impatience: Impatience
) -> None:
    with Servers(
        StatePaths(place.home, tmp_path / "own"), parts=["postgres"], durable=False, embedded=True
    ) as own:
        await migrate(own.postgres())
        here = dataclasses.replace(world, database=Database(own.postgres, "livebalance"))
        server = own.own["postgres"].child
        async with here.running() as projector:
            await here.write([transfer("alice", "t", 1)])
            await here.until("select count(*)::int from transfer", 1)
            server.kill()
            await here.write([transfer("alice", "u", 1)])
            impatience(60)
            before = projector.iterations
            async with asyncio.timeout(60):
                while projector.iterations < before + 6:  # each ends by itself, and waits longer
                    assert projector.stalled_reason() is None
                    await asyncio.sleep(0.05)
            server.start()
            server.wait_for("ready to accept connections", 30)
            await here.until("select count(*)::int from transfer", 2)


async def test_who_waits_for_kafka_to_be_there_is_alive_and_not_ready(world: World) -> None:
    port = free_port()
    world.start(kafka="127.0.0.1:1", http_port=port)
    assert await answer(port, "/livez") == (200, "ok\n")
    assert await answer(port, "/readyz") == (503, "kafka is unavailable\n")
