"""A TCP proxy that can drop every byte while its connections stay open, delay bytes, or let few through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from tests.integration.gateway.narrow_socket import narrow_socket

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FaultyProxy:
    """Forwards bytes in both directions.

    `drops_new`: whether connections that are made from now on drop all bytes. `delay`: seconds by which bytes
    from the client arrive later. `delivers`: cleared while no bytes from the client arrive. `returns`:
    cleared while no bytes from the server arrive. `rate`: bytes per second from the server to all clients;
    None if unlimited. A `narrow` proxy has room for few bytes from the server.
    """

    def __init__(self, target: str, *, narrow: bool = False) -> None:
        self._target, self._narrow = target, narrow
        self._drops: list[asyncio.Event] = []  # for each connection; set when it drops all bytes
        self._pumps: set[asyncio.Task[None]] = set()
        self.drops_new = False
        self.delay = 0.0
        self.delivers, self.returns = asyncio.Event(), asyncio.Event()
        self.delivers.set()
        self.returns.set()
        self.rate: int | None = None
        self._line = asyncio.Lock()  # of the bytes from the server, when their rate is limited
        self.connections = 0

    def drop_all(self) -> None:
        """Drops all further bytes of the connections that are open."""
        for drops in self._drops:
            drops.set()

    async def serve(self, *client: *Streams) -> None:
        self.connections += 1
        server = await self._connect()
        drops = asyncio.Event()
        if self.drops_new:
            drops.set()
        self._drops.append(drops)
        for reader, writer, from_client in ((client[0], server[1], True), (server[0], client[1], False)):
            self._pumps.add(asyncio.create_task(self._pump((reader, writer), drops, from_client)))

    async def _connect(self) -> Streams:
        if self._narrow:
            return await asyncio.open_connection(sock=narrow_socket(self._target), limit=1024)
        address = urlsplit(self._target)
        return await asyncio.open_connection(address.hostname, address.port)

    async def _pump(self, streams: Streams, drops: asyncio.Event, from_client: bool) -> None:
        reader, writer = streams
        try:
            while chunk := await reader.read(65536):
                if from_client and self.delay:
                    await asyncio.sleep(self.delay)
                await (self.delivers if from_client else self.returns).wait()
                if rate := None if from_client else self.rate:
                    async with self._line:
                        await asyncio.sleep(len(chunk) / rate)
                if not drops.is_set():
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
async def faulty_proxy(
    target: str, port: int = 0, *, narrow: bool = False
) -> AsyncIterator[tuple[FaultyProxy, str]]:
    """Yields the proxy, and the URL of `target` through it. It listens at `port`, by default a free one."""
    proxy = FaultyProxy(target, narrow=narrow)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    parts = urlsplit(target)
    user = f"{parts.username}@" if parts.username else ""
    address = f"{user}127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy, urlunsplit(parts._replace(netloc=address))
    finally:
        server.close()
        await proxy.stop()
