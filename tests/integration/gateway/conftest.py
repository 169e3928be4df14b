"""Gateways on real Postgres and Redis, and the fake projector that writes what they show."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvloop

from livebalance.gateway.app import serve
from livebalance.gateway.clock import uptime
from livebalance.gateway.server.http import HttpProtocol
from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.gateway.settings import Settings
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.servers.balancer import balancer
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import LONG_PAUSE, GatewayProcess
from tests.integration.gateway.held_audits import HeldAudits
from tests.integration.gateway.running_balancer import RunningBalancer
from tests.servers.database import Database
from tests.tokens import SECRET


class RunningGateway:
    """A gateway in the test's event loop, which serves until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.http = f"http://{settings.http_host}:{settings.http_port}"
        self.ws = f"ws://{settings.http_host}:{settings.http_port}/ws"
        self.operations = f"http://{settings.http_host}:{settings.operations_port}"
        self._stopping = asyncio.Event()
        self.task = asyncio.create_task(serve(settings, self._stopping))

    async def ready(self) -> None:
        """Waits until `/readyz` answers 200."""
        async with asyncio.timeout(30), httpx.AsyncClient(timeout=30) as client:
            while True:
                if self.task.done():
                    self.task.result()
                try:
                    if (await client.get(f"{self.operations}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)

    async def until_sessions(self, count: int) -> None:
        """Waits until `count` clients are connected."""
        async with asyncio.timeout(30), httpx.AsyncClient(timeout=30) as client:
            while True:
                text = (await client.get(f"{self.operations}/metrics")).text
                if f"livebalance_gateway_sessions {count}.0" in text:
                    return
                await asyncio.sleep(0.05)

    async def counter(self, name: str, **labels: str) -> float:
        """Returns a counter from /metrics, or 0. Gateways in the same process share their counters."""
        async with httpx.AsyncClient(timeout=30) as client:
            text = (await client.get(f"{self.operations}/metrics")).text
        selector = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        series = f"livebalance_gateway_{name}_total" + (f"{{{selector}}} " if selector else " ")
        return float(text.partition(f"\n{series}")[2].partition("\n")[0] or 0)

    async def failure(self) -> BaseException:
        """Waits until the gateway has failed, and returns the exception."""
        async with asyncio.timeout(30):
            await asyncio.wait({self.task})
        error, self.task = self.task.exception(), asyncio.create_task(asyncio.sleep(0))
        assert error
        return error

    def request_stop(self) -> None:
        self._stopping.set()

    async def stop(self) -> None:
        self.request_stop()
        async with asyncio.timeout(30):
            await self.task


async def readiness_with(http: httpx.AsyncClient, *words: str) -> str:
    """Waits until the answer of `/readyz` has one of the words, and returns it."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = (await http.get("/readyz")).text
                if any(word in answer for word in words):
                    return answer
            await asyncio.sleep(0.01)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Runs tests on production's event loop: its transports differ from asyncio's."""
    return {"uvloop": uvloop.new_event_loop}


StartGateway = Callable[..., Awaitable[RunningGateway]]


@pytest.fixture(autouse=True)
def _long_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengthens deadlines that a stalled machine could miss. A test of a deadline sets its own."""
    monkeypatch.setattr("livebalance.gateway.api.queries.QUERY_SECONDS", 30.0)
    monkeypatch.setattr("livebalance.gateway.live.hub.ACK_TIMEOUT", 30.0)
    monkeypatch.setattr("livebalance.gateway.live.sets.sets.ANSWER_SECONDS", 30.0)
    monkeypatch.setattr("livebalance.gateway.live.status.STALLED_AFTER", 600.0)
    monkeypatch.setattr("livebalance.gateway.lifecycle.MAX_AUDIT_AGE", 600.0)
    monkeypatch.setattr("livebalance.gateway.auth.gate.MAX_PAUSE", LONG_PAUSE)


@pytest.fixture
async def audits(monkeypatch: pytest.MonkeyPatch) -> HeldAudits:
    """Holds all audits but the first, with which a gateway gets ready."""
    return HeldAudits(monkeypatch, allowed=1)


class LimiterClock:
    """The clock of the rates of connections and requests. It stands still until a test sets `now`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = uptime()
        patch.setattr("livebalance.gateway.server.admission.uptime", lambda: self.now)
        patch.setattr("livebalance.gateway.api.budgets.time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def limiter_clock(monkeypatch: pytest.MonkeyPatch) -> LimiterClock:
    return LimiterClock(monkeypatch)


@pytest.fixture
async def projector(database: Database, redis_url: str, channel_prefix: str) -> AsyncIterator[FakeProjector]:
    async with FakeProjector(database.url("projector"), redis_url, channel_prefix) as projector:
        yield projector


@pytest.fixture
async def start_gateway(
    projector: FakeProjector, database: Database, redis_url: str, channel_prefix: str
) -> AsyncIterator[StartGateway]:
    """A function that starts a gateway with changed settings, and returns it when it is ready."""
    async with AsyncExitStack() as stack:

        async def start(**changed: Any) -> RunningGateway:
            defaults: dict[str, Any] = {
                "name": "gateway-test",
                "http_port": free_port(),
                "operations_port": free_port(),
                "postgres": database.url("gateway"),
                "redis": redis_url,
                "channel_prefix": channel_prefix,
                "drain_delay_seconds": 0.0,
                "drain_period_seconds": 0.2,
                "postgres_timeout_seconds": 30.0,
                "auth_timeout_seconds": 30.0,
                "request_head_timeout_seconds": 30.0,
                "demo_secret": SECRET,
                "connection_rate": 100_000.0,  # a test opens as many as it needs
                "request_rate_per_user": 100_000.0,
                "max_requests_per_user": 1000,
            }
            running = RunningGateway(Settings(**{**defaults, **changed}))
            stack.push_async_callback(running.stop)
            await running.ready()
            return running

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    return await start_gateway()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[WebSocketConnection]:
    """The WebSocket connections of gateways that start from now on, in the order of opening."""
    connections: list[WebSocketConnection] = []

    class KeptConnection(WebSocketConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            connections.append(self)

    monkeypatch.setattr("livebalance.gateway.app.WebSocketConnection", KeptConnection)
    return connections


@pytest.fixture
def protocols(monkeypatch: pytest.MonkeyPatch) -> list[HttpProtocol]:
    """The HTTP connections of gateways that start from now on, in the order of opening."""
    protocols: list[HttpProtocol] = []

    class KeptProtocol(HttpProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            protocols.append(self)

    monkeypatch.setattr("livebalance.gateway.app.HttpProtocol", KeptProtocol)
    return protocols


StartProcess = Callable[..., Awaitable[GatewayProcess]]


@pytest.fixture
async def start_process(
    projector: FakeProjector, database: Database, redis_url: str, channel_prefix: str, tmp_path: Path
) -> AsyncIterator[StartProcess]:
    """A function that starts a gateway in its own process, and returns it when it is ready."""
    with ExitStack() as stack:

        async def start(
            name: str,
            open_files: int | None = None,
            max_pause: float | None = LONG_PAUSE,
            **changed: float | str,
        ) -> GatewayProcess:
            settings: dict[str, float | str] = {
                "postgres": database.url("gateway"),
                "redis": redis_url,
                "channel_prefix": channel_prefix,
                "demo_secret": SECRET,
                "connection_rate": 100_000,
                "connection_rate_per_address": 1000,
                "max_connections_per_address": 1000,
                "request_rate_per_user": 100_000,
                "max_requests_per_user": 1000,
                "drain_delay_seconds": 0,
                **changed,
            }
            environment = {f"LIVEBALANCE_{key.upper()}": str(value) for key, value in settings.items()}
            log = tmp_path / f"{name}.log"
            process = GatewayProcess(name, free_port(), log, environment, open_files, max_pause)
            stack.callback(process.end)
            await process.start()
            return process

        yield start


StartBalancer = Callable[..., RunningBalancer]


@pytest.fixture
def start_balancer(paths: StatePaths, tmp_path: Path) -> Iterator[StartBalancer]:
    """A function that starts a balancer of these gateways, with further variables of its environment."""
    started: list[RunningBalancer] = []

    def start(*gateways: RunningGateway, **environment: str) -> RunningBalancer:
        own_paths, port = StatePaths(paths.home, tmp_path / "balancer"), free_port()
        health_port = gateways[0].settings.operations_port
        child = balancer(own_paths, port, [gateway.http for gateway in gateways], health_port, None)
        child = dataclasses.replace(child, environment={**child.environment, **environment})
        child.start()
        certificate = own_paths.directory("caddy") / "caddy/pki/authorities/local/root.crt"
        started.append(RunningBalancer(child, port, certificate, "LIVEBALANCE_PAGE_TLS" in environment))
        return started[-1]

    yield start
    for caddy in started:
        caddy.child.stop()
