"""Redis: one message per changed account, and the lanes' progress. It may lose all and never holds us up."""

import asyncio
import contextlib
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import hiredis

from livebalance.projector import metrics
from livebalance.runtime import crash, logs

_SECONDS = 1.0  # the longest a publish may take, and the time between two tries to connect

_log = logs.get("doorbell")

Message = tuple[str, bytes]  # channel, payload
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Doorbell:
    """A connection of its own. While Redis is away, messages are counted and forgotten: nothing queues."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._open: Streams | None = None
        self._opening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connects in the background, again whenever the connection was lost, until closed."""
        self._opening = asyncio.create_task(self._keep_open())

    async def publish(self, messages: Sequence[Message]) -> None:
        """Rings for each message, waiting for Redis at most a second; raises nothing."""
        if not messages:
            return
        if self._open is None:
            metrics.unpublished.inc(len(messages))
            return
        try:
            async with asyncio.timeout(_SECONDS):
                await self._ring(*self._open, messages)
            metrics.published.inc(len(messages))
        except (OSError, TimeoutError, EOFError, hiredis.HiredisError) as error:
            _log.warning("redis is away", error=repr(error))
            metrics.unpublished.inc(len(messages))
            self._hang_up()

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._opening
        self._hang_up()

    async def _ring(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: Sequence[Message]
    ) -> None:
        first, *rest = [_packed("PUBLISH", channel, payload) for channel, payload in messages]
        writer.write(first)
        if rest:
            crash.at("between_publishes")
            writer.writelines(rest)
        await writer.drain()
        await _answers(reader, len(messages))

    async def _keep_open(self) -> None:
        while True:
            if self._open is None:
                try:
                    async with asyncio.timeout(_SECONDS):
                        self._open = await self._connected()
                except (OSError, TimeoutError, EOFError, hiredis.HiredisError):
                    _log.debug("redis is still away")
            await asyncio.sleep(_SECONDS)

    async def _connected(self) -> Streams:
        url = self._url
        reader, writer = await asyncio.open_connection(
            url.hostname, url.port or 6379, ssl=url.scheme == "rediss" or None
        )
        if url.password:
            writer.write(_packed("AUTH", unquote(url.username or "default"), unquote(url.password)))
            await _answers(reader, 1)
        return reader, writer

    def _hang_up(self) -> None:
        if self._open is not None:
            self._open[1].transport.abort()
            self._open = None


def _packed(*words: str | bytes) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub allows one word only
    return packed


async def _answers(reader: asyncio.StreamReader, count: int) -> None:
    """Waits for `count` answers. Raises EOFError, or the error that Redis answers with."""
    parser = hiredis.Reader()
    while count:
        chunk = await reader.read(65536)
        if not chunk:
            raise EOFError("redis closed the connection")
        parser.feed(chunk)
        while (answer := parser.gets()) is not False:
            if isinstance(answer, hiredis.ReplyError):
                raise answer
            count -= 1
