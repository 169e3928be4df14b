"""A planned restart of a gateway of two, behind Caddy and under load: no client is without data for long."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from livebalance.stack.paths import StatePaths, free_port
from livebalance.wire.identity import AccountId
from tests.acceptance.attacks.attacked_stack import caddy
from tests.acceptance.upgrade.reconnecting_client import FirstShown, ReconnectingClient, running
from tests.integration.gateway.fake_projector import FakeProjector, transferring
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.servers.database import Database
from tests.tokens import SECRET, token_source

ACCOUNTS = [f"account-{number}" for number in range(10)]
CLIENTS = 100
DRAIN_DELAY, DRAIN_PERIOD = 1.5, 3.0  # seconds; the balancer checks readiness every second
MAX_SECONDS_WITHOUT_DATA = 1.0
TIMEOUT = 60.0


@pytest.fixture
async def projector(database: Database, redis_url: str, channel_prefix: str) -> AsyncIterator[FakeProjector]:
    async with FakeProjector(database.url("projector"), redis_url, channel_prefix) as projector:
        await projector.open(*ACCOUNTS)
        yield projector


@pytest.fixture
async def gateways(
    database: Database, redis_url: str, channel_prefix: str, tmp_path: Path
) -> AsyncIterator[list[GatewayProcess]]:
    """Two gateways with the same operations port, at addresses of their own."""
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": redis_url,
        "LIVEBALANCE_CHANNEL_PREFIX": channel_prefix,
        "LIVEBALANCE_DEMO_SECRET": SECRET,
        "LIVEBALANCE_OPERATIONS_PORT": str(free_port()),
        "LIVEBALANCE_DRAIN_DELAY_SECONDS": str(DRAIN_DELAY),
        "LIVEBALANCE_DRAIN_PERIOD_SECONDS": str(DRAIN_PERIOD),
        "LIVEBALANCE_CONNECTION_RATE_PER_ADDRESS": "1000",  # all clients have the same address
    }
    with ExitStack() as stack:
        gateways = []
        for number in (1, 2):
            own = {**environment, "LIVEBALANCE_HTTP_HOST": f"127.0.0.{number}"}
            name = f"gateway-{number}"
            gateways.append(GatewayProcess(name, free_port(), tmp_path / f"{name}.log", own))
            stack.callback(gateways[-1].end)
            await gateways[-1].start()
        yield gateways


@pytest.fixture
async def url(gateways: list[GatewayProcess], paths: StatePaths, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a Caddy in front of the gateways."""
    upstreams = [gateway.http for gateway in gateways]
    async with caddy(StatePaths(paths.home, tmp_path / "balancer"), upstreams, gateways[0].operations) as url:
        yield url


@asynccontextmanager
async def running_clients(url: str) -> AsyncIterator[list[ReconnectingClient]]:
    """Clients of different users, each with an account, which have all been answered."""
    first_shown = FirstShown()
    clients = [
        ReconnectingClient(
            f"client-{number}",
            url,
            [AccountId(ACCOUNTS[number % len(ACCOUNTS)])],
            token_source(),
            first_shown,
        )
        for number in range(CLIENTS)
    ]
    async with running(clients, TIMEOUT):
        yield clients


@pytest.mark.alone
async def test_no_client_is_without_data_for_long_while_a_gateway_of_two_restarts(
    projector: FakeProjector, gateways: list[GatewayProcess], url: str
) -> None:
    async with running_clients(url) as clients:
        async with transferring(projector, ACCOUNTS):
            moving = [client for client in clients if client.history[-1].gateway == "gateway-1"]
            assert len(moving) > CLIENTS / 4
            gateways[0].child.send(signal.SIGTERM)
            assert await gateways[0].exited(TIMEOUT) == 0
            await gateways[0].start()
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*(client.wait_for_deltas(client.deltas + 5) for client in clients))
        revisions = await projector.revisions()
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(client.wait_for_revisions(revisions) for client in clients))
    lags = sorted(client.longest_lag for client in clients)
    print(f"longest time without data: {lags[-1]:.2f} s, median of the clients {lags[CLIENTS // 2]:.2f} s")
    # A busy machine delays clients that stay connected, too.
    usual = max(client.longest_lag for client in clients if client not in moving)
    assert lags[-1] <= MAX_SECONDS_WITHOUT_DATA + usual, lags
    for client in clients:
        assert client.attempts == client.connections == 1 + (client in moving)
        client.checked_logs()
