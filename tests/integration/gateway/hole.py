"""A wire that may swallow all it is given and stays open all the same, or be slow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Hole:
    """Forwards bytes in both directions. `deaf`: connections made from now on swallow them.

    `delay`: seconds by which all that is asked comes later.
    """

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._open: list[asyncio.Event] = []  # one for each connection; set: it swallows, until its end
        self._pumps: set[asyncio.Task[None]] = set()
        self.deaf = False
        self.delay = 0.0
        self.connections = 0

    def swallow(self) -> None:
        """So do those that are open."""
        for swallows in self._open:
            swallows.set()

    async def serve(self, *client: *Streams) -> None:
        self.connections += 1
        server = await asyncio.open_connection(self._target.hostname, self._target.port)
        swallows = asyncio.Event()
        if self.deaf:
            swallows.set()
        self._open.append(swallows)
        for reader, writer, asks in ((client[0], server[1], True), (server[0], client[1], False)):
            self._pumps.add(asyncio.create_task(self._pump((reader, writer), swallows, asks)))

    async def _pump(self, streams: Streams, swallows: asyncio.Event, asks: bool) -> None:
        reader, writer = streams
        try:
            while chunk := await reader.read(65536):
                if asks and self.delay:
                    await asyncio.sleep(self.delay)
                if not swallows.is_set():
                    writer.write(chunk)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def stop(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)


@asynccontextmanager
async def hole(target: str) -> AsyncIterator[tuple[Hole, str]]:
    """The hole, and the URL through it."""
    one = Hole(target)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    parts = urlsplit(target)
    user = f"{parts.username}@" if parts.username else ""
    try:
        yield one, urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    finally:
        server.close()
        await one.stop()
