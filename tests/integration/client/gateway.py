"""A small gateway on a real socket, controlled by a test."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from livebalance.wire.frame import SUBPROTOCOL, ClientFrame, ServerFrame, decode_client_frame, encode_frame
from tests.unit.client.frames import welcome


class Gateway:
    """Sends `welcome` to each connection and queues the frames that it receives."""

    def __init__(self, heartbeat_ms: int = 10_000) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.received: asyncio.Queue[ClientFrame] = asyncio.Queue()
        self.url = ""

    async def serve(self, connection: ServerConnection) -> None:
        await connection.send(encode_frame(welcome(self.heartbeat_ms)), text=True)
        await self.connections.put(connection)
        try:
            async for text in connection:
                await self.received.put(decode_client_frame(text))
        except ConnectionClosed:
            pass  # the test checks how it ended

    async def next_frame(self) -> ClientFrame:
        async with asyncio.timeout(30):
            return await self.received.get()

    async def next_connection(self) -> ServerConnection:
        async with asyncio.timeout(30):
            return await self.connections.get()


@asynccontextmanager
async def running_gateway(heartbeat_ms: int = 10_000) -> AsyncIterator[Gateway]:
    gateway = Gateway(heartbeat_ms)
    async with serve(
        gateway.serve, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], close_timeout=0.2
    ) as server:
        gateway.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        yield gateway


async def send(connection: ServerConnection, frames: Iterable[ServerFrame]) -> None:
    for frame in frames:
        await connection.send(encode_frame(frame), text=True)
