"""A gateway in the test's own loop, on real Postgres and Redis, and a book that writes what it shows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from livebalance.gateway.app import serve
from livebalance.gateway.settings import Settings
from livebalance.stack.paths import free_port
from tests.integration.gateway.book import Book
from tests.integration.gateway.process import Process
from tests.servers.database import Database
from tests.tokens import SECRET


class Running:
    """A gateway that serves until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.http = f"http://127.0.0.1:{settings.http_port}"
        self.ws = f"ws://127.0.0.1:{settings.http_port}/ws"
        self._stopping = asyncio.Event()
        self.task = asyncio.create_task(serve(settings, self._stopping))

    async def ready(self) -> None:
        async with asyncio.timeout(10), httpx.AsyncClient() as client:
            while True:
                if self.task.done():
                    self.task.result()
                try:
                    if (await client.get(f"{self.http}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)

    async def until_sessions(self, count: int) -> None:
        """Until so many clients are connected."""
        async with asyncio.timeout(15), httpx.AsyncClient() as client:
            while True:
                shown = (await client.get(f"{self.http}/metrics")).text
                if f"livebalance_gateway_sessions {count}.0" in shown:
                    return
                await asyncio.sleep(0.05)

    async def counted(self, name: str, **labels: str) -> float:
        """A counter of /metrics, 0 if it is not there; those of the gateways of one process are one."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.http}/metrics")).text
        told = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        series = f"livebalance_gateway_{name}_total" + (f"{{{told}}} " if told else " ")
        return float(text.partition(f"\n{series}")[2].partition("\n")[0] or 0)

    async def fell(self) -> BaseException:
        """What it died of."""
        async with asyncio.timeout(10):
            await asyncio.wait({self.task})
        died, self.task = self.task.exception(), asyncio.create_task(asyncio.sleep(0))
        assert died
        return died

    def begin_to_stop(self) -> None:
        self._stopping.set()

    async def stop(self) -> None:
        self.begin_to_stop()
        async with asyncio.timeout(15):
            await self.task


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of production: its transports differ from asyncio's."""
    return {"uvloop": uvloop.new_event_loop}


StartGateway = Callable[..., Awaitable[Running]]


@pytest.fixture
async def book(database: Database, redis_url: str, channel_prefix: str) -> AsyncIterator[Book]:
    async with Book(database.url("projector"), redis_url, channel_prefix) as one:
        yield one


@pytest.fixture
async def start_gateway(
    book: Book, database: Database, redis_url: str, channel_prefix: str
) -> AsyncIterator[StartGateway]:
    """`await start_gateway(audit_period=0.3)`: as many as wanted, ready."""
    async with AsyncExitStack() as stack:

        async def start(**changed: Any) -> Running:
            given: dict[str, Any] = {
                "name": "gateway-test",
                "http_port": free_port(),
                "postgres": database.url("gateway"),
                "redis": redis_url,
                "channel_prefix": channel_prefix,
                "drain_delay_seconds": 0.0,
                "drain_period_seconds": 0.2,
                "demo_secret": SECRET,
                "connection_rate": 100_000.0,  # a test opens as many as it needs
            }
            running = Running(Settings(**{**given, **changed}))
            stack.push_async_callback(running.stop)
            await running.ready()
            return running

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Running:
    return await start_gateway()


StartProcess = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start_process(
    book: Book, database: Database, redis_url: str, channel_prefix: str, tmp_path: Path
) -> AsyncIterator[StartProcess]:
    """`await start_process("gateway-1", drain=2.0)`: a gateway in a process of its own, ready."""
    with ExitStack() as stack:

        async def start(name: str, **changed: float | str) -> Process:
            settings: dict[str, float | str] = {
                "postgres": database.url("gateway"),
                "redis": redis_url,
                "channel_prefix": channel_prefix,
                "demo_secret": SECRET,
                "connection_rate": 100_000,
                "connection_rate_per_address": 1000,
                "max_connections_per_address": 1000,
                "drain_delay_seconds": 0,
                **changed,
            }
            environment = {f"LIVEBALANCE_{key.upper()}": str(value) for key, value in settings.items()}
            process = Process(name, free_port(), tmp_path / f"{name}.log", environment)
            stack.callback(process.end)
            await process.start()
            return process

        yield start
