"""A gateway on which one thing happens, and whoever takes part in it."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest

from livebalance.readmodel.revocations import revoke
from tests.integration.gateway.bad_input.raw import (
    Raw,
    talk,
)
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running
from tests.integration.gateway.viewer import Viewer
from tests.servers.database import Database
from tests.tokens import bearer

WITHIN = 12.0


class Stage:
    """A gateway on which one thing happens; what was opened stays open until that was counted."""

    def __init__(self, gateway: Running, book: Book, database: Database, patch: pytest.MonkeyPatch) -> None:
        self.gateway, self.book, self.database, self.patch = gateway, book, database, patch
        self.opened = AsyncExitStack()

    async def talk(self, request: bytes) -> None:
        await talk(self.gateway.http, request)

    async def get(self, path: str, given: str | None = None, headers: dict[str, str] | None = None) -> None:
        async with httpx.AsyncClient(base_url=f"{self.gateway.http}/api/v1", timeout=WITHIN) as client:
            await client.get(path, headers=bearer(given) if headers is None else headers)

    async def open(self) -> Raw:
        return await self.opened.enter_async_context(await Raw.open(self.gateway.http))

    async def connect(self) -> Raw:
        return await self.opened.enter_async_context(await Raw.connect(self.gateway.http))

    async def viewer(self, **options: Any) -> Viewer:
        return await self.opened.enter_async_context(Viewer(self.gateway.ws, **options))

    async def following(self, account: str, **options: Any) -> Viewer:
        await self.book.open(account)
        viewer = await self.viewer(**options)
        await viewer.follow(account)
        await viewer.until_at(account, 1)
        return viewer

    async def taken_back(self, **named: Any) -> None:
        operator = await asyncpg.connect(self.database.url("operator"))
        await revoke(operator, named.get("subject"), None, named.get("account"), "a test")
        await operator.close()


Act = Callable[[Stage], Awaitable[object]]
