"""A gateway, a neighbour who follows an account of its own, and every line of the log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from livebalance.runtime import logs
from tests.integration.gateway.bad_input.raw import END, UPGRADE, Answer, Raw, talk
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.test_following import assert_shows
from tests.integration.gateway.viewer import Viewer

CLIENTS = ("httpx", "httpcore", "websockets.")  # of the tests, in the same process


class Log(logging.Handler):
    """Every line as it would stand in the log of the process, but those of the tests' own clients."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(CLIENTS):
            self.lines.append(self.format(record))
            self._news.set()

    async def until(self, found: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not found():
                self._news.clear()
                await self._news.wait()

    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def log(restored_logging: None) -> Log:
    logs.configure("gateway-test", "json", "INFO")
    root, mine = logging.getLogger(), Log()
    mine.setFormatter(root.handlers[0].formatter)
    root.handlers[:] = [mine]
    return mine


class Scene:
    """Settings of the gateway may differ; nothing that a stranger does reaches the neighbour."""

    def __init__(self, gateway: Running, book: Book, neighbour: Viewer, log: Log) -> None:
        self.gateway, self.book, self.neighbour, self.log = gateway, book, neighbour, log
        self._deltas = 0

    async def talk(self, request: bytes) -> Answer:
        return await talk(self.gateway.http, request)

    async def open(self, request: bytes = UPGRADE + END, *, narrow: bool = False) -> Raw:
        return await Raw.open(self.gateway.http, request, narrow=narrow)

    async def connect(self) -> Raw:
        return await Raw.connect(self.gateway.http)

    async def told(self, event: str, *payloads: str, others: int = 0, **fields: Any) -> dict[str, Any]:
        """The one line about what happened, with these fields; no line of the log holds a payload.

        There are `others` lines about other things.
        """

        def found() -> list[dict[str, Any]]:
            return [line for line in self.log.parsed() if {"event": event, **fields}.items() <= line.items()]

        await self.log.until(found)
        await self.undisturbed()
        lines = found()
        assert len(lines) == 1, self.log.lines
        self.untold(*payloads, lines=1 + others)
        return lines[0]

    def untold(self, *payloads: str, lines: int = 0) -> None:
        """No payload is in any of the lines, of which there are so many; each is one line of JSON."""
        assert len(self.log.lines) == lines, self.log.lines
        for line in self.log.lines:
            assert line.isprintable()
            for payload in payloads:
                assert payload not in line
        self.log.lines.clear()

    async def undisturbed(self) -> None:
        """The neighbour goes on without a gap, and saw its own frames and nothing else."""
        page = self.book.page("neighbour")
        await self.book.move("neighbour", 1)
        self._deltas += 1
        assert_shows(await self.neighbour.until_at("neighbour", page.revision), page)
        told = [one for one in self.neighbour.frames if one["type"] not in ("status", "heartbeat")]
        expected = ["welcome", "ok", "snapshot", *["delta"] * self._deltas]
        assert [one["type"] for one in told] == expected
        assert {one["channel"] for one in told if "channel" in one} == {"account:neighbour"}


MakeScene = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def make_scene(start_gateway: StartGateway, book: Book, log: Log) -> AsyncIterator[MakeScene]:
    """`await make_scene(assembly=0.3)`."""
    async with AsyncExitStack() as stack:

        async def make(headers: dict[str, str] | None = None, **changed: Any) -> Scene:
            gateway = await start_gateway(**changed)
            await book.open("neighbour")
            neighbour = Viewer(gateway.ws, additional_headers=headers or {})
            await stack.enter_async_context(neighbour)
            await neighbour.follow("neighbour")
            await neighbour.until_at("neighbour", 1)
            log.lines.clear()
            return Scene(gateway, book, neighbour, log)

        yield make


@pytest.fixture
async def scene(make_scene: MakeScene) -> Scene:
    return await make_scene()
