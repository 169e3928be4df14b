"""A gateway is stopped, rights are revoked, and the gateway wakes: it sends the revoked client nothing."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from http import HTTPStatus

import asyncpg
import httpx

from livebalance.gateway.auth.gate import MAX_PAUSE
from livebalance.readmodel.revocations import revoke
from tests.integration.gateway.conftest import StartProcess, projector, start_process  # noqa: F401 - fixtures
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers.database import Database
from tests.tokens import bearer, token


async def test_gateway_that_wakes_sends_nothing_to_a_client_that_was_revoked_meanwhile(
    start_process: StartProcess,  # noqa: F811
    projector: FakeProjector,  # noqa: F811
    database: Database,
) -> None:
    """Deltas, the request and the client's answers wait in socket buffers when it wakes."""
    gateway = await start_process("gateway-1", max_pause=None, revocation_poll_seconds=60)
    await projector.open("alice")
    mine = token(sub="me")
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(WebSocketClient(gateway.ws, token=mine))
        other = await stack.enter_async_context(WebSocketClient(gateway.ws))
        for client in (socket, other):
            await client.subscribe("alice")
            await client.until_at("alice", 1)
        stream = await stack.enter_async_context(SseClient(gateway.http, "alice", token=mine))
        await stream.until_at("alice", 1)
        # A gateway that wakes after a long pause closes connections that were kept alive for too long.
        once = {**bearer(mine), "Connection": "close"}
        rest = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.http, timeout=30))
        assert (await rest.get("/api/v1/accounts", headers=once)).status_code == HTTPStatus.OK

        gateway.child.send(signal.SIGSTOP)
        wakes_at = time.monotonic() + MAX_PAUSE + 0.2
        request = asyncio.create_task(rest.get("/api/v1/accounts", headers=once))
        operator = await asyncpg.connect(database.url("operator"))
        await revoke(operator, "me", None, None, "a test")
        await operator.close()
        while time.monotonic() < wakes_at:
            await projector.transfer("alice", 5)
        gateway.child.send(signal.SIGCONT)

        ends = [(await socket.until_closed())[0], (await stream.until_end()).code]
        assert ([len(client.of_type("delta")) for client in (socket, stream)], ends) == ([0, 0], [4503, 4503])
        assert (await request).status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE)
        account = projector.account("alice")
        assert_shows(await other.until_at("alice", account.revision), account)
