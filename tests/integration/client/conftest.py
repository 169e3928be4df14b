"""A real gateway in its own process, a projector that writes what it shows, and tokens for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from livebalance.stack.paths import free_port
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.servers.database import Database
from tests.tokens import SECRET, token


@pytest.fixture
async def projector(database: Database, redis_url: str, channel_prefix: str) -> AsyncIterator[FakeProjector]:
    async with FakeProjector(database.url("projector"), redis_url, channel_prefix) as projector:
        yield projector


@pytest.fixture
async def gateway(
    projector: FakeProjector, database: Database, redis_url: str, channel_prefix: str, tmp_path: Path
) -> AsyncIterator[GatewayProcess]:
    settings = {
        "POSTGRES": database.url("gateway"),
        "REDIS": redis_url,
        "CHANNEL_PREFIX": channel_prefix,
        "DEMO_SECRET": SECRET,
        "DRAIN_DELAY_SECONDS": "0",
    }
    environment = {f"LIVEBALANCE_{name}": value for name, value in settings.items()}
    process = GatewayProcess("gateway-real", free_port(), tmp_path / "gateway.log", environment)
    try:
        await process.start()
        yield process
    finally:
        process.end()


@pytest.fixture
async def token_endpoint() -> AsyncIterator[str]:
    """Returns the URL of an HTTP server that answers each request with a token for every account."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"token": token()}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/demo/token"
