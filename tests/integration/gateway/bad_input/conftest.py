"""Fixtures: a gateway, a second client, called the neighbour, and a capture of the log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from livebalance.runtime import logs
from tests.integration.gateway.bad_input.raw import (
    CRLF,
    HANDSHAKE_HEAD,
    RawConnection,
    RawResponse,
    send_request,
)
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient

CLIENT_LOGGERS = ("httpx", "httpcore", "websockets.")  # of the tests' clients, in the same process


class LogCapture(logging.Handler):
    """Captures every line of the gateway's log, formatted as in production."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._added = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(CLIENT_LOGGERS):
            self.lines.append(self.format(record))
            self._added.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._added.clear()
                await self._added.wait()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def log(restored_logging: None) -> LogCapture:
    logs.configure("gateway-test", "json", "INFO")
    root, capture = logging.getLogger(), LogCapture()
    capture.setFormatter(root.handlers[0].formatter)
    root.handlers[:] = [capture]
    return capture


class Scene:
    """A gateway and its neighbour, a well-behaved client that bad input of others must not affect."""

    def __init__(
        self, gateway: RunningGateway, projector: FakeProjector, neighbour: WebSocketClient, log: LogCapture
    ) -> None:
        self.gateway, self.projector, self.neighbour, self.log = gateway, projector, neighbour, log
        self._deltas = 0

    async def send_request(self, request: bytes) -> RawResponse:
        return await send_request(self.gateway.http, request)

    async def open(self, request: bytes = HANDSHAKE_HEAD + CRLF, *, narrow: bool = False) -> RawConnection:
        return await RawConnection.open(self.gateway.http, request, narrow=narrow)

    async def connect(self) -> RawConnection:
        return await RawConnection.connect(self.gateway.http)

    async def assert_logged(
        self, event: str, *payloads: str, others: int = 0, **fields: Any
    ) -> dict[str, Any]:
        """Waits for exactly one line of `event` with these fields, and returns it. Then clears the log.

        The log may have `others` more lines, about other events. No line may contain a payload.
        """

        def matching() -> list[dict[str, Any]]:
            return [line for line in self.log.events() if {"event": event, **fields}.items() <= line.items()]

        await self.log.until(matching)
        await self.assert_neighbour_unaffected()
        lines = matching()
        assert len(lines) == 1, self.log.lines
        self.assert_log(*payloads, lines=1 + others)
        return lines[0]

    def assert_log(self, *payloads: str, lines: int = 0) -> None:
        """Checks that the log has `lines` lines, without payloads and control characters. Then clears it."""
        assert len(self.log.lines) == lines, self.log.lines
        for line in self.log.lines:
            assert line.isprintable()
            for payload in payloads:
                assert payload not in line
        self.log.lines.clear()

    async def assert_neighbour_unaffected(self) -> None:
        """Checks that the neighbour gets the next delta, and has got no frames but its own."""
        account = self.projector.account("neighbour")
        await self.projector.transfer("neighbour", 1)
        self._deltas += 1
        assert_shows(await self.neighbour.until_at("neighbour", account.revision), account)
        frames = [frame for frame in self.neighbour.frames if frame["type"] not in ("status", "heartbeat")]
        expected = ["welcome", "ok", "snapshot", *["delta"] * self._deltas]
        assert [frame["type"] for frame in frames] == expected
        assert {frame["channel"] for frame in frames if "channel" in frame} == {"account:neighbour"}


MakeScene = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def make_scene(
    start_gateway: StartGateway, projector: FakeProjector, log: LogCapture
) -> AsyncIterator[MakeScene]:
    """A function that starts a gateway with changed settings, and its neighbour."""
    async with AsyncExitStack() as stack:

        async def make(headers: dict[str, str] | None = None, **changed: Any) -> Scene:
            gateway = await start_gateway(**changed)
            await projector.open("neighbour")
            neighbour = WebSocketClient(gateway.ws, additional_headers=headers or {})
            await stack.enter_async_context(neighbour)
            await neighbour.subscribe("neighbour")
            await neighbour.until_at("neighbour", 1)
            log.lines.clear()
            return Scene(gateway, projector, neighbour, log)

        yield make


@pytest.fixture
async def scene(make_scene: MakeScene) -> Scene:
    return await make_scene()
