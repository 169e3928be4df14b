"""A proxy to Postgres that can cut a connection during COMMIT, before or after the server receives it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class CommitCutter:
    """Forwards bytes. After `arm`, it cuts the connection that sends the next COMMIT.

    While `reachable` is cleared, new connections wait.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._armed: str | None = None
        self.cuts = 0
        self.reachable = asyncio.Event()
        self.reachable.set()
        self._pumps: set[asyncio.Task[None]] = set()

    def arm(self, when: str) -> None:
        """`when`: "before" or "after" the server receives the COMMIT."""
        self._armed = when

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.reachable.wait()
        from_server, to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._pumps.add(asyncio.create_task(self._up(reader, to_server, writer)))
        self._pumps.add(asyncio.create_task(self._down(from_server, writer)))

    async def _up(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                if self._armed and b"COMMIT" in chunk:
                    when, self._armed = self._armed, None
                    self.cuts += 1
                    client.transport.abort()
                    if when == "after":
                        server.write(chunk)
                        await server.drain()
                    break
                server.write(chunk)
        server.close()

    async def _down(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await server.read(65536):
                client.write(chunk)
        client.close()

    async def stop(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)


@asynccontextmanager
async def commit_cutter(target: str) -> AsyncIterator[tuple[CommitCutter, str]]:
    """Yields the cutter, and the URL that leads through it."""
    cutter = CommitCutter(target)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(target)
    try:
        yield cutter, urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
    finally:
        server.close()
        await cutter.stop()
