"""A small gateway on a real socket that does what a test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from livebalance.wire.frame import SUBPROTOCOL, ClientFrame, ServerFrame, decode_client_frame, encode_frame
from tests.unit.client.frames import welcome


class Gateway:
    """Welcomes each connection, and keeps what it hears; `heard` may be awaited with a deadline."""

    def __init__(self, heartbeat_ms: int = 10_000) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.heard: asyncio.Queue[ClientFrame] = asyncio.Queue()
        self.url = ""

    async def serve(self, connection: ServerConnection) -> None:
        await connection.send(encode_frame(welcome(self.heartbeat_ms)), text=True)
        await self.connections.put(connection)
        try:
            async for text in connection:
                await self.heard.put(decode_client_frame(text))
        except ConnectionClosed:
            pass  # how it ended is the test's affair

    async def next(self) -> ClientFrame:
        async with asyncio.timeout(5):
            return await self.heard.get()

    async def connected(self) -> ServerConnection:
        async with asyncio.timeout(5):
            return await self.connections.get()


@asynccontextmanager
async def gateway(heartbeat_ms: int = 10_000) -> AsyncIterator[Gateway]:
    one = Gateway(heartbeat_ms)
    async with serve(
        one.serve, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], close_timeout=0.2
    ) as server:
        one.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        yield one


async def say(connection: ServerConnection, frames: Iterable[ServerFrame]) -> None:
    for frame in frames:
        await connection.send(encode_frame(frame), text=True)
