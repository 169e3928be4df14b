"""Revocations that commit late, that were restored from a dump, or that a gateway cannot read."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from livebalance.gateway.auth import authenticator
from livebalance.readmodel.revocations import revoke
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.faulty_proxy import FaultyProxy, faulty_proxy
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.test_auth import reason
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers.database import Database
from tests.tokens import bearer, token

QUICK = {"revocation_poll_seconds": 0.05}
OUTAGE = {**QUICK, "postgres_timeout_seconds": 4.0, "revocation_outage_seconds": 5.0}
LATE = timedelta(seconds=90)
_INSERT = "insert into revocation (subject, at, why) values ($1, clock_timestamp() - $2::interval, 'a test')"


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database.url("owner"))
    yield connection
    await connection.close()


async def connect(stack: AsyncExitStack, gateway: RunningGateway, token: str) -> WebSocketClient:
    client = await stack.enter_async_context(WebSocketClient(gateway.ws, token=token))
    await client.subscribe("alice")
    await client.until_at("alice", 1)
    return client


async def until_read(stack: AsyncExitStack, gateway: RunningGateway, database: Database, name: str) -> None:
    """Waits until the gateway has applied a revocation that was committed after this call began."""
    client = await connect(stack, gateway, token(sub=name))
    operator = await asyncpg.connect(database.url("operator"))
    await revoke(operator, name, None, None, "a test")
    await operator.close()
    assert reason(await client.until_closed()) == (4503, "revoked")


async def status(gateway: RunningGateway, path: str, token: str | None = None) -> tuple[int, str]:
    """Returns the status of a request, and the code of its problem."""
    async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as http:
        response = await http.get(path, headers=bearer(token))
    return response.status_code, "" if response.is_success else response.json()["code"]


async def test_revocation_that_is_committed_90_s_late_reaches_sockets_streams_and_rest(
    start_gateway: StartGateway, projector: FakeProjector, database: Database, owner: Any
) -> None:
    """While its transaction is open, the gateway reads other revocations again and again."""
    gateway = await start_gateway(**QUICK)
    await projector.open("alice")
    mine = token(sub="me", iat=int(time.time()) - 120)  # issued before the revocation
    async with AsyncExitStack() as stack:
        socket = await connect(stack, gateway, mine)
        stream = await stack.enter_async_context(SseClient(gateway.http, "alice", token=mine))
        await stream.until_at("alice", 1)
        async with owner.transaction():
            await owner.execute(_INSERT, "me", LATE)
            for name in ("first", "second"):
                await until_read(stack, gateway, database, name)
            assert await status(gateway, "/api/v1/accounts/alice", mine) == (200, "")
        assert reason(await socket.until_closed()) == (4503, "revoked")
        assert (await stream.until_end()).code == 4503
        assert await status(gateway, "/api/v1/accounts/alice", mine) == (401, "revoked")


async def test_revocation_that_was_restored_from_a_dump_is_read_with_the_whole_list(
    start_gateway: StartGateway, projector: FakeProjector, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the transaction id of another server, which the gateway's mark has passed."""
    monkeypatch.setattr(authenticator, "READ_ALL_SECONDS", 0.5)
    gateway = await start_gateway(**QUICK)
    await projector.open("alice")
    async with AsyncExitStack() as stack:
        client = await connect(stack, gateway, token(sub="me"))
        await owner.execute("insert into revocation (subject, xid, why) values ('me', '3', 'a test')")
        assert reason(await client.until_closed()) == (4503, "revoked")


def cut(proxy: FaultyProxy) -> None:
    """Makes Postgres unreachable for the gateway only."""
    proxy.drops_new = True
    proxy.drop_all()


async def test_gateway_without_revocations_for_too_long_closes_all_clients(
    start_gateway: StartGateway, projector: FakeProjector, database: Database
) -> None:
    await projector.open("alice")
    async with faulty_proxy(database.url("gateway")) as (proxy, url), AsyncExitStack() as stack:
        gateway = await start_gateway(postgres=url, **OUTAGE)
        socket = await connect(stack, gateway, token())
        stream = await stack.enter_async_context(SseClient(gateway.http, "alice"))
        await stream.until_at("alice", 1)
        cut(proxy)
        async with asyncio.timeout(30):
            while not socket.closed:  # deltas arrive all the time
                await projector.transfer("alice", 5)
        assert reason(await socket.until_closed()) == (4013, "rights_unknown")
        end = await stream.until_end()
        assert (end.code, end.reason) == (4013, "rights_unknown")
        assert end.retry_after_ms is not None
        assert 5000 <= end.retry_after_ms <= 10_000
        assert await status(gateway, "/api/v1/accounts/alice") == (503, "unavailable")
        assert await status(gateway, "/api/v1/events?account=alice") == (503, "not_ready")
        async with httpx.AsyncClient(base_url=gateway.operations, timeout=30) as probe:
            assert (await probe.get("/readyz")).status_code == 503
        proxy.drops_new = False
        await gateway.ready()
        again = await stack.enter_async_context(WebSocketClient(gateway.ws))
        await again.subscribe("alice")
        await again.until_at("alice", projector.account("alice").revision)


async def test_gateway_without_revocations_that_shall_serve_continues_with_those_it_knows(
    start_gateway: StartGateway, projector: FakeProjector, database: Database
) -> None:
    await projector.open("alice")
    async with faulty_proxy(database.url("gateway")) as (proxy, url), AsyncExitStack() as stack:
        gateway = await start_gateway(postgres=url, revocation_outage="serve", **OUTAGE)
        clients = [await connect(stack, gateway, token(sub=name)) for name in ("me", "you")]
        cut(proxy)
        operator = await asyncpg.connect(database.url("operator"))
        await revoke(operator, "me", None, None, "a test")
        await operator.close()
        until = time.monotonic() + OUTAGE["revocation_outage_seconds"] + 1
        while time.monotonic() < until:
            await projector.transfer("alice", 5)
            for client in clients:
                await client.until_at("alice", projector.account("alice").revision)
        proxy.drops_new = False
        assert reason(await clients[0].until_closed()) == (4503, "revoked")
        assert clients[1].closed is None
