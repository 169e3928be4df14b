"""A gateway for a single action, with clients and the projector."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest

from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.readmodel.revocations import revoke
from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, RawConnection, send_request
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.servers.database import Database
from tests.tokens import bearer

WITHIN = 30.0


class Harness:
    """A gateway, and everything that an action needs. Connections stay open until `opened` is closed."""

    def __init__(
        self,
        gateway: RunningGateway,
        projector: FakeProjector,
        database: Database,
        patch: pytest.MonkeyPatch,
        connections: list[WebSocketConnection],
    ) -> None:
        self.gateway, self.projector, self.database, self.patch = gateway, projector, database, patch
        self.connections = connections  # those of the gateway, in the order of opening
        self.opened = AsyncExitStack()

    async def send_request(self, request: bytes) -> None:
        await send_request(self.gateway.http, request)

    async def get(self, path: str, token: str | None = None, headers: dict[str, str] | None = None) -> None:
        async with httpx.AsyncClient(base_url=f"{self.gateway.http}/api/v1", timeout=WITHIN) as client:
            await client.get(path, headers=bearer(token) if headers is None else headers)

    async def open(self, request: bytes = HANDSHAKE_HEAD + CRLF) -> RawConnection:
        return await self.opened.enter_async_context(await RawConnection.open(self.gateway.http, request))

    async def connect(self) -> RawConnection:
        return await self.opened.enter_async_context(await RawConnection.connect(self.gateway.http))

    async def client(self, **options: Any) -> WebSocketClient:
        return await self.opened.enter_async_context(WebSocketClient(self.gateway.ws, **options))

    async def subscribed(self, account: str, **options: Any) -> WebSocketClient:
        await self.projector.open(account)
        client = await self.client(**options)
        await client.subscribe(account)
        await client.until_at(account, 1)
        return client

    async def revoke(self, **target: Any) -> None:
        operator = await asyncpg.connect(self.database.url("operator"))
        await revoke(operator, target.get("subject"), None, target.get("account"), "a test")
        await operator.close()


Action = Callable[[Harness], Awaitable[object]]
